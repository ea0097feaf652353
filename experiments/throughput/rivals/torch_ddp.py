"""PyTorch with gloo: `torch_ddp` averages gradients in every step, `torch_local` never talks.

Each worker is one process of this program, started by the launcher. DistributedDataParallel and SGD
have their default options: one bucket for this network, batch statistics copied from rank 0 in every
step, no compilation.
"""

from __future__ import annotations

import contextlib
import datetime
import sys
from collections.abc import Callable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from experiments.throughput.rivals.digits import Samples
from experiments.throughput.rivals.task import Task
from experiments.throughput.rivals.torch_network import TorchNetwork
from experiments.throughput.rivals.training import Team, report

LEARNING_RATE = 0.1
MOMENTUM = 0.9
_WAIT_SECONDS = 120.0  # for another worker, above which it is taken for dead


def main(task: Task) -> None:
    """Trains one worker."""
    with process_group(task):
        model: nn.Module = TorchNetwork(seed=0)
        if task.method == "torch_ddp":
            model = DistributedDataParallel(model)
        optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)

        def step(samples: Samples) -> None:
            optimizer.zero_grad()
            loss_of(model, samples).backward()
            optimizer.step()

        report(task, Team(step, total, is_synchronous=task.method != "torch_local"))


@contextlib.contextmanager
def process_group(task: Task) -> Iterator[None]:
    """All workers of a run, each with one thread for its operations, until all are done."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{task.port}",
        rank=task.rank,
        world_size=task.workers,
        timeout=datetime.timedelta(seconds=_WAIT_SECONDS),
    )
    yield
    dist.barrier()  # rank 0 holds the store that the others still ask
    dist.destroy_process_group()


def loss_of(model: Callable[[Tensor], Tensor], samples: Samples) -> Tensor:
    """Mean cross-entropy of one batch as the loader gives it."""
    images, labels = (torch.from_numpy(each) for each in samples)
    logits = model(images.permute(0, 3, 1, 2))
    return nn.functional.cross_entropy(logits, labels.long())


def total(number: float) -> float:
    """The sum over workers."""
    numbers = torch.tensor([number], dtype=torch.float64)
    dist.all_reduce(numbers)
    return numbers.item()


if __name__ == "__main__":
    main(Task.from_arguments(sys.argv[1:]))
