"""A table as a stream, and a policy played over it. Begin with `table.py` and `engine.py`."""
