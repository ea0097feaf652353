"""Who may talk to whom, and who talks now. Pure."""

from layup_jax.topology.complete import Complete

TOPOLOGIES = {Complete.name: Complete}

__all__ = ["TOPOLOGIES", "Complete"]
