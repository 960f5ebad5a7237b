"""Speaks with PTS: the wire, the pace, the sending and resending, the reading of whole areas."""
