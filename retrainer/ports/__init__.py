"""What the service needs from the worlds outside, one small protocol each; nothing here does anything.

Every adapter raises `Unreachable` when its world cannot be reached right now, and `Refused` when going on would break
a promise. `retrainer/adapters/memory/` has an in-memory twin of each, which passes the same contract tests.
"""
