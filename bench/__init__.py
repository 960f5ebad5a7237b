"""The worker's own benchmark: how fast it is beside a bare loop, and how the store grows.

``python -m bench`` measures the program against a fast stand-in for PTS; ``python -m bench.scale``
measures the store alone. Not part of the package that is installed.
"""
