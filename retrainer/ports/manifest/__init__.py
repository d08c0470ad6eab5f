"""What must survive a crash: the manifest, as each of its users sees it.

The ingest worker and the controller talk only through these. Any call may raise `Unreachable`; every write is one
transaction that is refused with `Fenced` once another process holds the lease. Begin with `ingest.py` and
`decisions.py`.
"""
