"""Read the roster from a file, standard input or a database query."""
