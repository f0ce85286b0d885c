"""A folder or bucket in which files arrive → each of them transcribed once, when it is whole.

In: where recordings or manifests arrive, a checkpoint, the configuration, where the tables live. Out: rows of all
tables, by `transforms.run`, which does the work. In the order of the data: `arrivals` notes what is new (Structured
Streaming, into a table beside its checkpoint), `settling` tells what is whole, `watch` admits hours of it to a run and
notes what is done. Must not know samples, models or engines.
"""
