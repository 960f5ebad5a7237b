"""HelseID client for machine-to-machine access: client key, access tokens and DPoP proofs."""

from worker.lean import without

with without("click"):  # for a command line of its own
    import httpx  # noqa: F401
