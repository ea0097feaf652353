"""layup_jax.models.conv in PyTorch: the same layers, sizes, constants and initial distribution.

model = TorchNetwork(seed=0)
logits = model(torch.zeros(32, 1, 8, 8))    # (32, 10)
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from experiments.throughput.rivals.digits import IMAGE_SHAPE, NUM_CLASSES

CHANNELS = (16, 16, 32, 32, 64)
POOLED = (1,)


class TorchNetwork(nn.Module):
    """Blocks of convolution, batch normalisation and ReLU; mean over positions; a linear map."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        sizes = [IMAGE_SHAPE[-1], *CHANNELS]
        self.blocks = nn.Sequential(
            *(
                _block(before, after, is_pooled=index in POOLED)
                for index, (before, after) in enumerate(itertools.pairwise(sizes))
            )
        )
        self.linear = nn.Linear(sizes[-1], NUM_CLASSES)
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="linear")
        nn.init.zeros_(self.linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, classes)."""
        return self.linear(self.blocks(images).mean(dim=(2, 3)))


def _block(num_inputs: int, num_outputs: int, *, is_pooled: bool) -> nn.Sequential:
    conv = nn.Conv2d(num_inputs, num_outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    # PyTorch's momentum is the weight of the new value, Flax's (0.9) that of the old one.
    norm = nn.BatchNorm2d(num_outputs, momentum=0.1)
    layers = [conv, norm, nn.ReLU()]
    return nn.Sequential(*layers, nn.AvgPool2d(2)) if is_pooled else nn.Sequential(*layers)
