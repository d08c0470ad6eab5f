"""The controller: reads tallies, decides, launches and follows jobs, keeps house.

Begin with `controller.py` (the loop) and `deciding.py` (one round about one model). Imports `jobs`; knows nothing of
Kafka or the worker.
"""
