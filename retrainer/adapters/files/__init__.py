"""Local files: segments, snapshots and datasets, and the disk under them.

Begin with `segments.py`. `whole.py` writes a file that is there as a whole or not at all.
"""
