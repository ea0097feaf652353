"""The engine: segments, their compiled functions, and what passes between them. Pure numerics."""
