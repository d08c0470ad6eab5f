"""From a record, as a team writes it, to an event.

Begin with `mapping.py` (one record at a time). `predicates.py` and `slices.py` read conditions over features,
`scores.py` the scores that come with predictions.
"""
