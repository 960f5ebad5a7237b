"""Makes contracts with PTS: from an OpenAPI document, from live answers, and as text."""
