"""Outputs of the copy: an HTML report, and exported files.

They read only the reporting views, in one read transaction.
"""
