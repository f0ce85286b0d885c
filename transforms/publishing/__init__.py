"""Chunks → transcript → segments, words, failures, recordings. Plain functions and DataFrame code that asks no engine
and can be repeated without harm.

Must not know engines or audio.
"""
