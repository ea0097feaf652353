"""ResNet-50 on CIFAR-10; all else, and what may stand after the colon, as in cifar10_resnet18.py.

    .venv/bin/python scripts/download_data.py cifar10
    layup train --config=configs/cifar10_resnet50.py:ddp --workers=8

Source: as there; the network is that of arXiv 1512.03385 with the stem for small images.
Hardware: 8 GPUs, one for each worker; 23.5 million parameters, 94 MB a message of all segments.
Time: not measured here.
Expected result: test accuracy of the mean model about 0.95; not measured here.
"""

from cifar10_resnet18 import NAMES as NAMES
from cifar10_resnet18 import get_config as cifar10_resnet18


def get_config(method="layup"):
    config = cifar10_resnet18(method)
    config.name = f"cifar10_resnet50_{method}"
    config.model.name = "resnet50"
    return config
