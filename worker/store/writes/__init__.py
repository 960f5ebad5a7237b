"""The writes of a batch of persons, in one transaction."""
