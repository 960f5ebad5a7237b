"""The outputs of the copy: an HTML report, and exported files.

Everything here reads the reporting views and nothing else, in one read transaction.
"""
