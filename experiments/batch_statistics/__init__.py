"""What workers make of BatchNorm's running statistics; see README.md."""
