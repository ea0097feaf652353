"""What it costs to train layer by layer instead of in one fused call."""
