"""Whether to retrain: triggers and guards, slot by slot, and what became of it.

Begin with `deliberation.py` (one model, slot after slot). `memory.py` is all that it remembers, `watch.py` looks at the
champion, `guards.py` may hold a retraining, `decisions.py` records what was decided, `jobs.py` and `ledger.py` what
followed. Imports every room below but `join` and `mapping`.
"""
