"""The one way out over HTTP: to PTS, HelseID, the Pushgateway and the ping."""
