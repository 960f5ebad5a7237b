"""The declarations of all commands: help and options.

What a command does is in ``worker.cli`` and is loaded when it runs, so that its help is there at
once (``worker.cli.options.command``).
"""
