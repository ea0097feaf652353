"""Training over slow links: four virtual hosts on one machine, accelerators emulated."""
