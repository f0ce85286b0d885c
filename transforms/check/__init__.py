"""Is the lake as it should be? What fsck is to a file system: it looks, says what is wrong, and mends what it can.

In: the tables. Out: findings, and with --repair the tables mended from chunks, under a registered run with claims like
any other. Knows Spark, the lake, publishing and the other runs; must not know samples or models, and asks no engine.
"""
