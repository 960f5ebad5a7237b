"""Erasure of a person, the search for remaining traces, and the access log."""
