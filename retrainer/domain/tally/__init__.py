"""What is counted: exact sums that can be added and taken away again.

Begin with `tallies.py` (the keys), then `measures.py` (scores and errors as whole numbers). Imports `values`,
`events` and `answers` alone.
"""
