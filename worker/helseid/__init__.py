"""HelseID client for machine-to-machine access: client key, access tokens and DPoP proofs."""
