"""Tables, views and indexes, and how a database is brought to them."""
