"""How well hardware is used, and where time goes."""
