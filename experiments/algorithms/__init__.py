"""Every algorithm on the same data, model, clock and report, over several seeds."""
