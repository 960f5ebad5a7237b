"""How a run begins, continues and ends: lease, ledger, publication, undo, retention."""
