"""Tables, views and indexes, and the upgrade of a database to them."""
