"""The worlds outside, one room or file each; every one implements a protocol of `retrainer/ports`.

Made in `retrainer/bootstrap.py` alone. `memory/` has a twin of each for tests.
"""
