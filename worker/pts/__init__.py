"""The PTS client: transport, throttling, retries, and reading of complete areas."""
