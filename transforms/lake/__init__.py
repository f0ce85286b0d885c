"""Where the tables live, how they are written and migrated, the session, the views, and readers without Spark.

The only room that knows Delta. Must not know audio, engines, or what the rows mean.
"""
