"""Training with one slow worker, or with messages that are late: accelerators emulated."""
