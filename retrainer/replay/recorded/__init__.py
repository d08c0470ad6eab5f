"""A policy played over what the service has stored, or over records. Begin with `run.py` and `play.py`."""
