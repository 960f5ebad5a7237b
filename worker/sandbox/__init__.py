"""Stand-ins for HelseID and PTS on loopback, with synthetic persons only.

They share no code with the client side of the worker: a server that checks proofs with the code
that made them proves nothing. Every rule that they keep is read from the same public sources that
the client was written from; what is only inferred is marked so where it stands.
"""
