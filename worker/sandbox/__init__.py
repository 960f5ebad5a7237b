"""Stand-ins for HelseID and PTS on loopback, with synthetic persons only.

They share no code with the rest: checking proofs with the code that made them would prove nothing.
"""
