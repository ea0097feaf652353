"""How many samples a second four workers train, with and without communication."""
