"""HelseID, machine to machine: the client key, tokens and proofs of possession."""
