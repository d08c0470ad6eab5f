"""WHEN things happen, through ports alone.

`ingest/` is the worker, `control/` the controller; neither imports the other. `jobs/` carries retrainings out,
`people/` answers commands. What they share stands beside them; `supervisor.py` keeps both roles running.
"""
