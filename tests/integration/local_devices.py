"""Under mpirun: a short run on the digits with 1 and with 4 local devices, and a replay of the latter.

Argument: folder for the run folders. Rank 0 writes what it found into found.json there.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np

from layup_jax.config import validated
from layup_jax.host import local_place
from layup_jax.metrics import RunFolder
from layup_jax.replay import replay_run
from layup_jax.training import train_under_mpi


def trained(folder, name, local_devices):
    config = {
        "name": name,
        "output": str(folder),
        "batch_size": 32,
        "partition": 2,
        "record": True,
        "stop": {"steps": 12},
        "evaluation": {"every_steps": 0},
        "model": {"name": "mlp", "options": {"width": 32, "depth": 2}},
        "local_devices": local_devices,
        "strategy": {"name": "ddp"},
        "transport": {"data_plane": "mpi4jax"},  # device buffers leave as they are
    }
    return train_under_mpi(validated(config))


def flat(run):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(run.model)])


def main(folder):
    """Trains on every rank."""
    one, four = trained(folder, "one", 1), trained(folder, "four", 4)
    if local_place().rank:
        return
    sizes = {message.received.nbytes for message in four.recorded.recording.messages}
    found = {
        "devices": len(jax.local_devices()),
        "difference": float(np.max(np.abs(flat(one) - flat(four)))),
        "largest": float(np.max(np.abs(flat(one)))),
        "sent_bytes": [run.summary.sent_bytes for run in (one, four)],
        "accuracies": [run.summary.test_accuracy for run in (one, four)],
        "message_bytes": sorted(sizes),
        "replayed_steps": replay_run(RunFolder.open(folder / "four"), 0).steps,
    }
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
