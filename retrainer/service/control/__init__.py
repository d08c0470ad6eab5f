"""The controller: reads tallies, decides, launches and follows jobs, keeps house.

Begin with `controller.py` (the loop), then `rounds.py` (one round about every model) and `deciding.py` (about one).
`telling.py` logs what a round came to. Imports `jobs`; knows nothing of Kafka or the worker.
"""
