"""HelseID client for machine-to-machine access: client key, access tokens and DPoP proofs."""

from worker.lean import without

with without("click"):  # used only by httpx's command line
    import httpx  # noqa: F401
