"""A ResNet-18 with BatchNorm on the digits data; after the colon a name as in digits.py.

    layup train --config=configs/digits_resnet.py:layup --workers=4

Of a quarter of the published width: images are 8 x 8; to train they are moved by up to a pixel.
Source: arXiv 1512.03385 for the network; the algorithms as in digits.py.
Hardware: any CPU with two cores.
Time: about a minute of training for 4 workers on two cores, two minutes with start-up.
Expected result: test accuracy of the mean model 0.985 or better; see experiments/batch_statistics.
"""

from digits import OPTIONS

from layup_jax.config import default_config


def get_config(method="layup"):
    config = default_config()
    config.name = f"digits_resnet_{method}"
    config.batch_size = 64  # with 32 LayUp reached 0.969 with one seed
    config.partition = "layer"
    config.model.name = "resnet18"
    config.model.options = {"width": 16}
    config.data.augment = "crop"  # a mirrored digit is none
    config.data.crop_padding = 1
    config.optimizer.learning_rate = 0.1
    config.optimizer.weight_decay = 5e-4  # as for CIFAR; with 1e-4 DDP reached 0.974
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 20
    config.strategy.update({"name": method, **OPTIONS.get(method, {})})
    config.stop.steps = 400
    config.evaluation.every_steps = 100
    config.evaluation.target = 0.97
    return config
