"""Several processes share one run (PostgreSQL only)."""
