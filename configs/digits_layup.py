"""LayUp on the digits data: pairwise averaging, layer by layer, no worker ever waits.

    layup train --config=configs/digits_layup.py --workers=4

Source: LayUp, arXiv 2410.05985 v4; pairwise rule on what was sent, our reconstruction.
Hardware: any CPU with two cores.
Time: about 6 s of training for 4 workers on two cores, half a minute with start-up.
Expected result: test accuracy of the mean model at least 0.975, every worker within 0.02 of it.
"""

from layup_jax.config import default_config


def get_config():
    config = default_config()
    config.name = "digits_layup"
    config.batch_size = 32
    config.model.name = "conv"
    config.data.name = "digits"
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.1
    config.optimizer.momentum = 0.9
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 20
    config.strategy.name = "layup"
    config.strategy.mixing = "pairwise"
    config.stop.steps = 300
    config.evaluation.every_steps = 50
    config.evaluation.target = 0.97
    return config
