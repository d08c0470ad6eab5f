"""What is known although labels come late: coverage, delays, and whether outcomes are a fair sample.

Begin with `coverage.py`. Imports `tally`.
"""
