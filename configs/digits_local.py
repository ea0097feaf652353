"""No communication during training: the speed that LayUp is measured against.

    layup train --config=configs/digits_local.py --workers=4

Everything else as in digits_layup.py.
Hardware: any CPU with two cores.
Time: about 5 s of training for 4 workers on two cores.
Expected result: workers apart from each other: their mean model means little.
"""

from digits_layup import get_config as digits_layup


def get_config():
    config = digits_layup()
    config.name = "digits_local"
    config.strategy.name = "local"
    return config
