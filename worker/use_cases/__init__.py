"""What the program does, apart from the command line: each takes the app and gives a result."""
