-- Views over the tables, for Spark SQL and DuckDB alike. `python -m jobs.sql --tables ROOT` makes them for its session,
-- `--create-views` keeps them in a catalog. By hand: run this file where the names recordings, segments, words,
-- failures and runs are known, as after `USE main.speech` in spark-sql.
--
-- To add one: a comment that says what a row is (it becomes the catalog's comment), one statement, an empty line.
-- Use what both engines know: concat_ws and not ||, nullif before a division, CASE and not if(). Join on audio_id
-- and take_id, so that a reader sees the old transcript or the new one, whole.

-- A recording with its whole transcript. Of a call with a channel a speaker, text has a line a turn.
CREATE OR REPLACE TEMPORARY VIEW transcripts AS
SELECT
  audio_id, uri, regexp_extract(uri, '([^/]+)$', 1) AS file,
  language, language_source, text, word_count, confidence, flags,
  duration_ms / 60000 AS minutes,
  word_count / nullif(speech_ms / 60000, 0) AS words_per_minute,
  engine, model, transcribed_at, metadata
FROM recordings
WHERE status = 'ok';

-- A segment, as a subtitle would show it, with its recording's columns.
CREATE OR REPLACE TEMPORARY VIEW spoken_segments AS
SELECT
  s.audio_id, r.uri, regexp_extract(r.uri, '([^/]+)$', 1) AS file,
  s.segment_index, s.start_ms, s.end_ms, s.speaker, s.channel, s.text, s.language, s.confidence,
  r.flags, r.transcribed_at, r.metadata
FROM segments s
JOIN recordings r ON s.audio_id = r.audio_id AND s.take_id = r.take_id;

-- A word with its recording's columns.
CREATE OR REPLACE TEMPORARY VIEW spoken_words AS
SELECT
  w.audio_id, r.uri, regexp_extract(r.uri, '([^/]+)$', 1) AS file,
  w.word_index, w.word, w.start_ms, w.end_ms, w.estimated, w.confidence, w.speaker, w.channel,
  w.segment_index, w.char_start, w.char_end, r.language, r.flags, r.transcribed_at, r.metadata
FROM words w
JOIN recordings r ON w.audio_id = r.audio_id AND w.take_id = r.take_id;

-- A word with the seven that the same speaker says next, in lower case and without punctuation: WHERE phrase LIKE
-- 'thank you%' finds where a phrase of up to eight words begins, whatever segments it spans. It reads all words;
-- `python -m jobs.search` reads only those of the recordings that have the phrase, and knows accents too.
CREATE OR REPLACE TEMPORARY VIEW phrases AS
SELECT
  w.audio_id, r.uri, regexp_extract(r.uri, '([^/]+)$', 1) AS file,
  w.word_index, w.start_ms, w.end_ms, w.speaker, w.channel, w.segment_index, r.language,
  translate(lower(concat_ws(
    CASE WHEN r.language IN ('zh', 'yue', 'ja', 'th', 'lo', 'my', 'km', 'bo') THEN '' ELSE ' ' END,
    w.word, lead(w.word, 1) OVER later, lead(w.word, 2) OVER later, lead(w.word, 3) OVER later,
    lead(w.word, 4) OVER later, lead(w.word, 5) OVER later, lead(w.word, 6) OVER later, lead(w.word, 7) OVER later
  )), '.,:;!?…"“”„«»()[]¡¿。、，！？；：「」『』', '') AS phrase
FROM words w
JOIN recordings r ON w.audio_id = r.audio_id AND w.take_id = r.take_id
WINDOW later AS (PARTITION BY w.audio_id, w.take_id, w.channel ORDER BY w.word_index);

-- A segment whose confidence is below 0.6, to listen to: the least certain first with ORDER BY confidence. Of its words,
-- doubtful_words are below 0.5, and untimed_words could not be timed.
CREATE OR REPLACE TEMPORARY VIEW review_queue AS
SELECT
  s.audio_id, r.uri, regexp_extract(r.uri, '([^/]+)$', 1) AS file,
  s.segment_index, s.start_ms, s.end_ms, s.speaker, s.channel, s.text, s.language, s.confidence,
  doubts.doubtful_words, doubts.untimed_words, r.flags, r.transcribed_at, r.metadata
FROM segments s
JOIN recordings r ON s.audio_id = r.audio_id AND s.take_id = r.take_id
JOIN (
  SELECT
    audio_id, take_id, segment_index,
    count(CASE WHEN confidence < 0.5 THEN 1 END) AS doubtful_words,
    count(CASE WHEN start_ms IS NULL THEN 1 END) AS untimed_words
  FROM words
  GROUP BY audio_id, take_id, segment_index
) doubts ON s.audio_id = doubts.audio_id AND s.take_id = doubts.take_id AND s.segment_index = doubts.segment_index
WHERE s.confidence < 0.6;

-- A flag of a recording, and what to do about it.
CREATE OR REPLACE TEMPORARY VIEW flagged_recordings AS
SELECT
  r.audio_id, r.uri, regexp_extract(r.uri, '([^/]+)$', 1) AS file,
  flags.flag, flags.advice, r.language, r.confidence, r.transcribed_at, r.metadata
FROM recordings r
JOIN (VALUES
  ('repetition', 'the engine repeated itself: listen to where the text does'),
  ('truncated', 'the engine stopped early: words may be missing'),
  ('no_speech', 'something sounded like speech and no words were found: music, noise, or another language'),
  ('low_confidence', 'see review_queue for the doubtful segments'),
  ('language_mismatch', 'check the manifest''s language against what is spoken'),
  ('unaligned', 'the text stands, but its words lack exact times: no aligner knew them or the language, or one failed'),
  ('duration_mismatch', 'the file''s header claims another length: see that it was copied whole'),
  ('damaged', 'a part could not be decoded: fetch the file again'),
  ('phase_cancelled', 'mixed, its channels cancel each other, so the loudest was heard: one of them is wired the wrong way round'),
  ('incomplete', 'a chunk failed: see open_failures'),
  ('unsupported', 'words may have been made up over noise: listen to them'),
  ('unheard', 'it is loud, and neither noise, music nor a tone: listen whether somebody whispers'),
  ('context_echo', 'only words of the given context were heard: take them for none'),
  ('context_cut', 'the given context was too long: shorten it')
) AS flags(flag, advice) ON array_contains(r.flags, flags.flag);

-- What could not be done and still stands: a recording, or a chunk of one. What failed is in message, whether somebody
-- must do something in advice.
CREATE OR REPLACE TEMPORARY VIEW open_failures AS
SELECT
  f.audio_id, f.uri, regexp_extract(f.uri, '([^/]+)$', 1) AS file,
  f.stage, f.kind, f.message,
  CASE
    WHEN f.transient THEN 'the next run tries again by itself'
    ELSE 'mend the source, then run jobs.transcribe again; if it is as it was, with --reprocess failed'
  END AS advice,
  f.transient, f.attempts, f.chunk_index IS NULL AS whole_part, f.part_index, f.channel, f.chunk_index,
  r.status, f.run_id, f.at, r.metadata
FROM failures f
LEFT JOIN recordings r ON f.audio_id = r.audio_id;

-- A run of the job: hours of audio, hours it took, and how many times faster than listening that is. wait_share is the part
-- of its tasks' time in which the recognizer waited for audio.
CREATE OR REPLACE TEMPORARY VIEW run_speed AS
SELECT
  run_id, status, started_at, recordings, failed, audio_hours, speech_hours, wall_seconds / 3600 AS wall_hours,
  times_real_time, batch_fill, retries, stage_seconds, error,
  failed / nullif(recordings, 0) AS failed_share,
  stage_seconds['wait'] / nullif(stage_seconds['recognize'] + stage_seconds['wait'], 0) AS wait_share
FROM runs;

-- A language: how much of it there is, how fast it is spoken, and how sure the engine is of it. confidence is the mean
-- over recordings, weighted by their speech.
CREATE OR REPLACE TEMPORARY VIEW languages AS
SELECT
  language,
  count(*) AS recordings,
  sum(duration_ms) / 3600000 AS audio_hours,
  sum(speech_ms) / 3600000 AS speech_hours,
  sum(word_count) AS words,
  sum(word_count) / nullif(sum(speech_ms) / 60000, 0) AS words_per_minute,
  sum(confidence * speech_ms) / nullif(sum(CASE WHEN confidence IS NOT NULL THEN speech_ms END), 0) AS confidence
FROM recordings
WHERE status = 'ok'
GROUP BY language;

-- A recording's audio beside how well it was read, since bad audio explains bad text. audio_faults names what is plainly
-- bad, as in 'noisy, narrow' (a telephone ends at 4,000 Hz). word_error_rate is over all references of jobs.evaluate.
CREATE OR REPLACE TEMPORARY VIEW audio_quality AS
SELECT
  r.audio_id, r.uri, regexp_extract(r.uri, '([^/]+)$', 1) AS file,
  r.loudness_lufs, r.snr_db, r.bandwidth_hz, r.clipped_share, r.dc_offset, r.digital_silence_share,
  nullif(concat_ws(', ',
    CASE WHEN r.loudness_lufs < -40 THEN 'quiet' END,
    CASE WHEN r.snr_db < 10 THEN 'noisy' END,
    CASE WHEN r.bandwidth_hz <= 4000 THEN 'narrow' END,
    CASE WHEN r.clipped_share > 0.001 THEN 'clipped' END,
    CASE WHEN abs(r.dc_offset) > 0.01 THEN 'offset' END,
    CASE WHEN r.digital_silence_share > 0.5 THEN 'gaps' END
  ), '') AS audio_faults,
  r.confidence, e.word_error_rate, r.status, r.language, r.duration_ms, r.flags, r.transcribed_at, r.metadata
FROM recordings r
LEFT JOIN (
  SELECT
    audio_id, run_key,
    sum(substitutions + deletions + insertions) / nullif(sum(words), 0) AS word_error_rate
  FROM evaluations
  GROUP BY audio_id, run_key
) e ON r.audio_id = e.audio_id AND r.run_key = e.run_key;

-- A recording with the week that it was transcribed in, by its Monday: to be grouped by week, model and whatever metadata
-- has. is_failed and is_flagged are 1 or 0.
CREATE OR REPLACE TEMPORARY VIEW dated_recordings AS
SELECT
  audio_id, uri, regexp_extract(uri, '([^/]+)$', 1) AS file,
  CAST(date_trunc('week', transcribed_at) AS DATE) AS week,
  engine, model, language, status,
  duration_ms / 3600000 AS audio_hours, speech_ms / 3600000 AS speech_hours, confidence,
  CASE WHEN status = 'failed' THEN 1 ELSE 0 END AS is_failed,
  CASE WHEN CAST(flags AS STRING) <> '[]' THEN 1 ELSE 0 END AS is_flagged,
  flags, transcribed_at, metadata
FROM recordings;

-- A week, by its Monday, a model and a language: recordings transcribed, how many of them failed or have a flag, hours, and
-- the mean confidence, weighted by speech.
CREATE OR REPLACE TEMPORARY VIEW weekly AS
SELECT
  week, engine, model, language,
  count(*) AS recordings, sum(is_failed) AS failed, sum(is_flagged) AS flagged,
  sum(audio_hours) AS audio_hours, sum(speech_hours) AS speech_hours,
  sum(confidence * speech_hours) / nullif(sum(CASE WHEN confidence IS NOT NULL THEN speech_hours END), 0) AS confidence
FROM dated_recordings
GROUP BY week, engine, model, language;

-- A language in a week against the four weeks before: its confidence, and its share of the hours of speech. A language that
-- was there in one of these weeks has its row.
CREATE OR REPLACE TEMPORARY VIEW weekly_drift AS
SELECT
  week, language, speech_hours,
  weighted / nullif(speech_hours, 0) AS confidence,
  weighted_before / nullif(hours_before, 0) AS confidence_before,
  speech_hours / nullif(sum(speech_hours) OVER (PARTITION BY week), 0) AS share,
  hours_before / nullif(sum(hours_before) OVER (PARTITION BY week), 0) AS share_before
FROM (
  SELECT
    this.week, near.language,
    sum(CASE WHEN near.week = this.week THEN near.speech_hours ELSE 0 END) AS speech_hours,
    sum(CASE WHEN near.week < this.week THEN near.speech_hours ELSE 0 END) AS hours_before,
    sum(CASE WHEN near.week = this.week THEN near.confidence * near.speech_hours ELSE 0 END) AS weighted,
    sum(CASE WHEN near.week < this.week THEN near.confidence * near.speech_hours ELSE 0 END) AS weighted_before
  FROM (SELECT DISTINCT week FROM weekly) this
  JOIN weekly near ON near.week BETWEEN this.week - INTERVAL 28 DAY AND this.week
  WHERE near.confidence IS NOT NULL
  GROUP BY this.week, near.language
) compared;
