"""What a lake needs now and then: its files kept few and its logs short, and a recording erased with all that is left.

In: the tables. Out: the same rows in other files, without the chunks that nothing shows; or the tables without a
recording. Knows Spark, the lake, the checks and the other runs; must not know samples or models, and asks no engine.
"""
