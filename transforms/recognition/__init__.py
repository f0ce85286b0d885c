"""Chunks of speech → timed texts: batches across recordings, languages, second tries, alignment, and the fused task
that does all of it in one Python worker.

In: works (rows of `rows.WORK`). Out: rows of the table chunks. Must not know a Spark session, tables or other tasks.
"""
