"""A manifest and a lake → pending work → waves of it → published transcripts: the whole run, on the driver.

In: a manifest (Parquet), the configuration, where the tables live. Out: rows of all tables, and a summary for people.
Knows Spark and the rooms below; must not know samples or models: those are behind `recognition`.
"""
