"""A ResNet-18 of 16 channels on the digits; after the colon the name of an algorithm.

layup train --config=configs/digits_resnet.py:layup --workers=4
"""

from digits import OPTIONS

from layup_jax.config import default_config


def get_config(method="layup"):
    config = default_config()
    config.name = f"digits_resnet_{method}"
    config.batch_size = 32
    config.partition = "layer"
    config.model.name = "resnet18"
    config.model.options = {"width": 8}
    config.optimizer.learning_rate = 0.05
    config.optimizer.weight_decay = 1e-4
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 20
    config.strategy.update({"name": method, **OPTIONS.get(method, {})})
    config.stop.steps = 200
    config.evaluation.every_steps = 50
    config.evaluation.target = 0.97
    return config
