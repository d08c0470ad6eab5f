"""Metrics from tallies, each with its number of outcomes and its interval.

Begin with `registry.py` (every metric by its name). `counts.py`, `scores.py` and `errors.py` compute them,
`intervals.py` says how sure they are, `windows.py` which outcomes they are about. Imports `tally`.
"""
