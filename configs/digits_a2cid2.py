"""A2CiD2 on a ring: gossip with neighbours only, accelerated by a continuous momentum.

    layup train --config=configs/digits_a2cid2.py --workers=4

Everything else as in digits_layup.py. Source: arXiv 2306.08289, here on every segment by itself.
Hardware: any CPU with two cores.
Time: about 6 s of training for 4 workers on two cores.
Expected result: test accuracy of the mean model at least 0.975.
"""

from digits_layup import get_config as digits_layup


def get_config():
    config = digits_layup()
    config.name = "digits_a2cid2"
    config.strategy.name = "a2cid2"
    config.strategy.topology = "ring"
    return config
