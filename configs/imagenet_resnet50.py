"""ResNet-50 on ImageNet in 90 epochs; what may stand after the colon as in cifar10_resnet18.py.

    .venv/bin/python scripts/download_data.py imagenet2012        # says which files to put where
    sbatch --nodes=8 --gpus-per-node=8 --exclusive scripts/slurm.sh \
        --config=configs/imagenet_resnet50.py:a2cid2
    layup train --config=configs/imagenet_resnet50.py:a2cid2 --workers=8      # on one machine

Source: Goyal et al., arXiv 1706.02677, section 5.1: 0.1 for each 256 samples of the global batch, 5
epochs of warm-up, a tenth after epochs 30, 60 and 80, weight decay 1e-4. Differs from it: the warm-up
begins at 0, and the last BatchNorm of a block starts as the network has it.
Hardware: 8 to 64 GPUs, one for each worker, with 16 cores each to decode images; 25.6 million parameters.
Time: not measured here.
Expected result: test accuracy 0.764 with synchronous SGD (Goyal et al., table 1); of the mean model of
gossip about that, less with many workers on sparse graphs (A2CiD2, arXiv 2306.08289); not measured here.
"""

from cifar10_resnet18 import NAMES as NAMES
from cifar10_resnet18 import OPTIONS

from layup_jax.config import default_config


def get_config(method="layup"):
    config = default_config()
    config.name = f"imagenet_resnet50_{method}"
    config.batch_size = 128
    config.partition = "layer"
    config.model.name = "resnet50"
    config.model.options = {"stem": "imagenet"}
    config.data.name = "imagenet2012"
    config.data.test_split = "validation"
    config.data.augment = "resized_crop"
    config.data.normalize = "imagenet2012"
    config.optimizer.learning_rate = 0.1
    config.optimizer.reference_batch = 256
    config.optimizer.weight_decay = 1e-4
    config.optimizer.warmup_epochs = 5.0
    config.optimizer.schedule = "step"
    config.optimizer.decay_at = (30 / 90, 60 / 90, 80 / 90)
    config.strategy.update({"name": method, **OPTIONS.get(method, {})})
    config.stop.steps = None
    config.stop.epochs = 90.0
    config.evaluation.every_steps = 1000
    config.evaluation.target = 0.75
    return config
