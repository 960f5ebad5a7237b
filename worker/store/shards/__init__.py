"""Several processes at one run (PostgreSQL only)."""
