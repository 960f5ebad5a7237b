"""One module a command: its options, what it does, and what it prints.

What a command works with is imported in its body, so that its help is there at once.
"""
