"""A recording's address or bytes → chunks of speech on the file's time line, streamed a block at a time.

In: a Work. Out: Chunks, then its one Closing. Must not know Spark, engines, or what is made of the chunks.
"""
