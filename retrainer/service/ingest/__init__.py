"""The ingest worker: poll, decode, join, tally, flush.

Begin with `worker.py` (the loop) and `shard.py` (what it holds between two commits). `start.py` and `rebuild.py` are
how it starts. `unflushed.py` is what was read, `cut.py` cuts it off, `commit.py` makes it true. `backlog.py`,
`pausing.py` and `space.py` say what is not to be read for now. Knows nothing of training, registry or controller.
"""
