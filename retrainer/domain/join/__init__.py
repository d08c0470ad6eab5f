"""Predictions and labels become outcomes, whatever their order.

Begin with `rules.py` (what a set of events comes to) and `ingest.py` (one model's records). `table.py` is the join in
columns; `rows.py`, `keytable.py`, `entries.py`, `cells.py` and `codes.py` are what it is made of. `columns.py` reads
many records at once. Imports `mapping` and `tally`.
"""
