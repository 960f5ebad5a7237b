"""Drafts: what a run has read, not published; and how they become garbage."""
