"""ResNet-50 on CIFAR-100; all else, and what may stand after the colon, as in cifar10_resnet18.py.

    .venv/bin/python scripts/download_data.py cifar100
    layup train --config=configs/cifar100_resnet50.py:slowmo --workers=8

Source: as there. With ResNet-18 and three A100, PD-ASGD was 1.34 times as fast as DDP (arXiv 2410.05985
v3).
Hardware: 8 GPUs, one for each worker.
Time: not measured here.
Expected result: test accuracy of the mean model 0.76 to 0.78, as one large batch gives; not measured
here.
"""

from cifar10_resnet50 import NAMES as NAMES
from cifar10_resnet50 import get_config as cifar10_resnet50


def get_config(method="layup"):
    config = cifar10_resnet50(method)
    config.name = f"cifar100_resnet50_{method}"
    config.data.name = "cifar100"
    config.data.normalize = "cifar100"
    config.evaluation.target = 0.75
    return config
