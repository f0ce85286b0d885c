"""The live server: recordings and speech as they are sent → transcripts at once, on the same transforms as the job.

In: requests. Out: answers in the shapes that clients of OpenAI's API know. Must not know Spark.
"""
