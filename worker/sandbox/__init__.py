"""Stand-ins for HelseID and PTS on loopback, with synthetic persons only.

They share no code with the rest, because checking proofs with the code that creates them would
prove nothing.
"""
