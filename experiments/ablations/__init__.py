"""Each choice of LayUp changed by itself, over slow links: accelerators emulated."""
