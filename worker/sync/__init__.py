"""One run: from the roster to a published snapshot, through ports only."""
