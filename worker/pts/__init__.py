"""Speaks with PTS: the transport, the pace, the retries, the reading of whole areas."""
