"""The database: tables, lease, ledger of runs, the batched writer, publication, reporting views."""
