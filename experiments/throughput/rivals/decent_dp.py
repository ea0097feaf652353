"""Decent-DP: decentralized training in PyTorch, each step averaged with one peer (`decent_dp`).

Each worker is one process of this program, started by the launcher. Topology: one-peer exponential. The
package itself takes the optimizer's step, in a hook of the backward pass, and averages with a peer
during the next step; who is slow keeps its peers waiting.

References:
  Wang et al. 2025, "From Promise to Practice", arXiv 2410.11998.
"""

from __future__ import annotations

import sys

import torch
from decent_dp.ddp import DecentralizedDataParallel
from torch import Tensor

from experiments.throughput.rivals.digits import Samples
from experiments.throughput.rivals.task import Task
from experiments.throughput.rivals.torch_ddp import (
    LEARNING_RATE,
    MOMENTUM,
    loss_of,
    process_group,
    total,
)
from experiments.throughput.rivals.torch_network import TorchNetwork
from experiments.throughput.rivals.training import Team, report


def main(task: Task) -> None:
    """Trains one worker."""
    with process_group(task):
        network = TorchNetwork(seed=0)
        model = DecentralizedDataParallel(network, _optimizer, topology="one-peer-exp")

        def step(samples: Samples) -> None:
            loss_of(model, samples).backward()

        report(task, Team(step, total, is_synchronous=True))
        model.global_avg(will_revert=False)  # waits for what is still in flight


def _optimizer(named: list[tuple[str, Tensor]]) -> torch.optim.Optimizer:
    return torch.optim.SGD([param for _, param in named], LEARNING_RATE, MOMENTUM)


if __name__ == "__main__":
    main(Task.from_arguments(sys.argv[1:]))
