-- Views of what live sessions say, beside those of views.sql: they need the table live_utterances, which jobs.serve makes
-- when it is told to keep what it hears (--tables). To add one: as there.

-- An utterance of a live session whose recording is not transcribed yet: what is known of it now.
CREATE OR REPLACE TEMPORARY VIEW live_now AS
SELECT
  l.audio_id, l.uri, regexp_extract(l.uri, '([^/]+)$', 1) AS file,
  l.utterance_index, l.start_ms, l.end_ms, l.speaker, l.channel, l.text, l.language, l.confidence, l.flags,
  l.engine, l.model, l.said_at
FROM live_utterances l
WHERE NOT EXISTS (SELECT 1 FROM recordings r WHERE r.audio_id = l.audio_id AND r.status <> 'failed');

-- All that is said, as of now: the segments of recordings, and of live sessions whose recording is not transcribed yet
-- the utterances (is_live).
CREATE OR REPLACE TEMPORARY VIEW spoken_now AS
SELECT
  audio_id, uri, file, segment_index, start_ms, end_ms, speaker, channel, text, language, confidence,
  transcribed_at AS known_at, false AS is_live
FROM spoken_segments
UNION ALL
SELECT
  audio_id, uri, file, utterance_index AS segment_index, start_ms, end_ms, speaker, channel, text, language, confidence,
  said_at AS known_at, true AS is_live
FROM live_now;

-- An utterance of a live session beside what its recording has in its place: character_distance is the share of characters
-- that differ, as in an error rate, whatever their case.
CREATE OR REPLACE TEMPORARY VIEW live_distance AS
SELECT
  l.audio_id, l.uri, regexp_extract(l.uri, '([^/]+)$', 1) AS file,
  l.utterance_index, l.start_ms, l.end_ms, l.speaker, l.channel, l.text AS live_text,
  substring(r.text, f.char_start + 1, f.char_end - f.char_start) AS final_text,
  levenshtein(
    lower(coalesce(l.text, '')), lower(coalesce(substring(r.text, f.char_start + 1, f.char_end - f.char_start), ''))
  ) / nullif(f.char_end - f.char_start, 0) AS character_distance,
  l.said_at, r.transcribed_at, l.model AS live_model, r.model AS final_model
FROM live_utterances l
JOIN recordings r ON l.audio_id = r.audio_id AND r.status <> 'failed'
LEFT JOIN (
  SELECT s.audio_id, s.channel, s.utterance_index, min(w.char_start) AS char_start, max(w.char_end) AS char_end
  FROM live_utterances s
  JOIN recordings t ON s.audio_id = t.audio_id
  JOIN words w ON w.audio_id = t.audio_id AND w.take_id = t.take_id
  WHERE (w.start_ms + w.end_ms) / 2 >= s.start_ms AND (w.start_ms + w.end_ms) / 2 < s.end_ms
    AND (s.channel IS NULL OR w.channel IS NULL OR s.channel = w.channel)
  GROUP BY s.audio_id, s.channel, s.utterance_index
) f ON l.audio_id = f.audio_id AND l.utterance_index = f.utterance_index AND coalesce(l.channel, -1) = coalesce(f.channel, -1);
