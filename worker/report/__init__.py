"""What people and other programs see of the copy: an HTML page, and files.

Everything here reads the reporting views and nothing else, in one read transaction.
"""
