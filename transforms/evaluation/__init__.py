"""Transcripts beside references → error rates, calibration, errors of time; rows of the table evaluations.

Must not know audio or engines.
"""
