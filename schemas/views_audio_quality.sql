-- How good the audio was, beside how sure the recognizer is: the worst first.
SELECT
  audio_id, run_key, uri, language, duration_ms, speech_ms, confidence, flags,
  loudness_lufs, clipped_share, bandwidth_hz, snr_db, dc_offset, digital_silence_share,
  array_compact(array(
    CASE WHEN loudness_lufs < -40 THEN 'quiet' END,
    CASE WHEN clipped_share > 0.001 THEN 'clipped' END,
    CASE WHEN bandwidth_hz <= 4000 THEN 'narrow' END,
    CASE WHEN snr_db < 10 THEN 'noisy' END,
    CASE WHEN abs(dc_offset) > 0.01 THEN 'offset' END,
    CASE WHEN digital_silence_share > 0.5 THEN 'gaps' END
  )) AS audio_faults
FROM recordings
WHERE status <> 'failed'
ORDER BY confidence NULLS LAST
