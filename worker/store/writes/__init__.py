"""What a batch of persons writes in its transaction."""
