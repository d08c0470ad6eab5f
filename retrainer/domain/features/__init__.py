"""The features of predictions and training rows: their profiles, and how two of them differ.

Begin with `profiles.py`, then `drift.py`. Imports `metrics` (windows) and `mapping` (slices).
"""
