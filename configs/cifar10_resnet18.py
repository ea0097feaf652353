"""ResNet-18 on CIFAR-10, as the papers on decentralized training do it; after the colon any algorithm.

    .venv/bin/python scripts/download_data.py cifar10
    layup train --config=configs/cifar10_resnet18.py:ad_psgd --workers=8

LayUp without a name; `push_sum` is LayUp that pushes. Options that an algorithm has are its paper's. 200
epochs of all data, 0.1 as learning rate for each 128 samples of the global batch, 5 epochs of warm-up, a
tenth at 50% and at 75%. Post-local SGD: local_sgd with --config.strategy.local_from=STEPS.

Source: Goyal et al., arXiv 1706.02677, for warm-up and scaling; LayUp, arXiv 2410.05985, and A2CiD2,
arXiv 2306.08289, for the task; the numbers of epochs and of workers are ours.
Hardware: 8 GPUs, one for each worker; 11 million parameters, 45 MB a message of all segments.
Time: not measured here.
Expected result: test accuracy of the mean model about 0.95, as a ResNet-18 of this width reaches with one
large batch; not measured here.
"""

from layup_jax.config import default_config
from layup_jax.strategies import STRATEGIES

OPTIONS = {"push_sum": {"name": "layup", "mixing": "push_sum"}}
NAMES = sorted({*STRATEGIES, *OPTIONS})


def get_config(method="layup"):
    config = default_config()
    config.name = f"cifar10_resnet18_{method}"
    config.batch_size = 128
    config.partition = "layer"
    config.model.name = "resnet18"
    config.data.name = "cifar10"
    config.data.augment = "crop_flip"
    config.data.normalize = "cifar10"
    config.optimizer.learning_rate = 0.1
    config.optimizer.reference_batch = 128
    config.optimizer.weight_decay = 5e-4
    config.optimizer.warmup_epochs = 5.0
    config.optimizer.schedule = "step"
    config.optimizer.decay_at = (0.5, 0.75)
    config.strategy.update({"name": method, **OPTIONS.get(method, {})})
    config.stop.steps = None
    config.stop.epochs = 200.0
    config.evaluation.every_steps = 480  # ten epochs of eight workers
    config.evaluation.target = 0.94
    return config
