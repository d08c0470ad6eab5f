"""A policy played over history, with the code that decides live.

Begin with `run.py`. `table/` plays a table, `recorded/` what the service has stored, `report/` writes what was found.
"""
