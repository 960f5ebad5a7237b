"""Erasure of a person, the search for what is left, and the access log."""
