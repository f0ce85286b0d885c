"""Recordings and files in folders, object stores and on the web: opened, fetched, written whole.

Must not know Spark, audio, or what is in the files.
"""
