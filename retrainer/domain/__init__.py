"""What the service knows and decides. Pure: no I/O, no clock, no randomness.

From the bottom up, as data flows: `values`, `events`, `answers`, `batches`; `tally` (what is counted), `mapping`
(records to events), `join` (predictions and labels to outcomes), `metrics` and `lateness` (what counts say),
`features` (drift), `triggers`, `judging` and at the top `deciding`. A room imports only from those below it.
"""
