"""HelseID, machine to machine: the client key, tokens and proofs of possession."""

from worker.lean import without

with without("click"):  # for a command line of its own
    import httpx  # noqa: F401
