"""Triggers: what may call for a retraining. Each looks at tallies and remembers a state of its own.

Begin with `base.py` (what a trigger is) and `threshold.py` (the simplest one). Imports `metrics` and `features`.
"""
