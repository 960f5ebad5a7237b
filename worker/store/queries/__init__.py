"""What the store knows, for commands that never write."""
