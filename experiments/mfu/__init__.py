"""How long a worker waits for its data."""
