"""Erasure of a person, and the access log."""
