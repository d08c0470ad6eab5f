"""`retrainer tune`: searches the settings that would have cost least on history.

Begin with `run.py`. Plays replays, and writes the file anew with the reason beside each change.
"""
