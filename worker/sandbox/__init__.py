"""Stand-ins for HelseID and PTS on loopback, with synthetic persons only.

The sandbox shares no code with the client side of the worker: checking DPoP proofs with the code
that created them would prove nothing. Its rules come from the same public sources as the client;
inferred rules are marked as such.
"""
