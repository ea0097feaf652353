"""One jitted step per worker, layers not taken apart, no communication: the limit of speed.

    layup train --config=configs/digits_fused.py --workers=4

Everything else as in digits_layup.py.
Hardware: any CPU with two cores.
Time: about 5 s of training for 4 workers on two cores.
Expected result: as digits_local.py, at the highest samples/s.
"""

from digits_layup import get_config as digits_layup


def get_config():
    config = digits_layup()
    config.name = "digits_fused"
    config.strategy.name = "fused"
    return config
