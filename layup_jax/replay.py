"""A recorded run once more, from its folder: `layup replay`.

replayed = replay_run(RunFolder.open("runs/digits_pd_asgd"), rank=0)
replayed.steps, replayed.writes
"""

from __future__ import annotations

from typing import NamedTuple

from layup_jax.data import make_loader
from layup_jax.draws import Draws
from layup_jax.engine.recording import READS, digest, load
from layup_jax.engine.replay import Replay
from layup_jax.engine.sharding import own_mesh
from layup_jax.errors import RunFolderError
from layup_jax.host import prepare_host
from layup_jax.metrics import RunFolder
from layup_jax.run import Chosen, prepare
from layup_jax.training import build_task, devices_of_worker, loader_spec


class Replayed(NamedTuple):
    """What was done again.

    Attributes:
      steps: of the worker.
      writes: updates, and messages given and merged.
    """

    steps: int
    writes: int


def replay_run(folder: RunFolder, rank: int) -> Replayed:
    """Repeats what one worker did, on one thread, with the messages that it got.

    Raises:
      RunFolderError: there is no such worker or no recording, or the parameters come out different.
    """
    ranks = folder.ranks()
    if rank not in ranks:
        raise RunFolderError(
            f"rank must be that of a worker of '{folder.path}', got {rank}; use one of: "
            f"{', '.join(map(str, ranks))}"
        )
    config = folder.read_config()
    recorded = load(folder.recording(rank))
    prepare_host(config.host.bind, *recorded.place, devices=devices_of_worker(config))
    workers = len(ranks)
    mesh = own_mesh(config.local_devices, *recorded.place)
    chosen = Chosen(recorded.partition, "as recorded")
    prepared = prepare(build_task(config), config, chosen, workers, mesh=mesh)
    batches = map(mesh.sharded, make_loader(loader_spec(config, rank, workers)))
    events = recorded.recording.events
    replay = Replay(prepared.engine, recorded.recording, Draws(config.seed, rank))
    if digest(replay.run(batches)) != recorded.digest:
        raise RunFolderError(
            f"replaying '{folder.recording(rank)}' must give the run's parameters to the last bit, "
            "got others; use the same program, packages and kind of machine"
        )
    steps = {each.step for each in events if each.step >= 0}
    return Replayed(len(steps), sum(each.kind not in READS for each in events))
