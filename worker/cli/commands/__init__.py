"""One module for each command: options, work and output.

A command imports its parts in its body, so that ``--help`` starts fast.
"""
