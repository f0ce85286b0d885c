"""The tables → gauges for Prometheus: small sums, asked every minute.

In: tables as Spark or DuckDB reads them. Out: a page of metrics, served or written. Must not know audio or engines.
"""
