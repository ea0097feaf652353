"""Standard output as rich sees it, with mpirun's false terminal seen through.

    open_console().print("layup: 4 workers")

mpirun gives rank 0 a terminal of its own even where its output goes to a file, so a worker cannot
know; without being told it writes plain text.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_LAUNCHER_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID")


def open_console(*, terminal: bool | None = None) -> Console:
    """A console on standard output.

    Args:
      terminal: whether a person watches; None: as the output says, and no under a launcher. What
        started the launcher knows better, and may say True.

    Returns:
      A console of rich, without control codes where there is no terminal.
    """
    from rich.console import Console

    if terminal is None and any(name in os.environ for name in _LAUNCHER_VARIABLES):
        terminal = False
    return Console(force_terminal=terminal)
