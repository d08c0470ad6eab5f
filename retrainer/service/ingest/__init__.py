"""The ingest worker: poll, decode, join, tally, flush.

Begin with `worker.py` (the loop) and `shard.py` (what it holds between two commits). `start.py` and `rebuild.py` are
how it starts, `cut.py` is one commit. Knows nothing of training, the registry or the controller.
"""
