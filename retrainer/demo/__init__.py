"""`retrainer demo`: the whole loop on embedded parts and real flights. Begin with `run.py`."""
