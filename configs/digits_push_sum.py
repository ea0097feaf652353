"""LayUp with push-sum: one-way messages, so that nobody waits for an answer.

    layup train --config=configs/digits_push_sum.py --workers=4

Everything else as in digits_layup.py.
Hardware: any CPU with two cores.
Time: about 6 s of training for 4 workers on two cores.
Expected result: test accuracy of the mean model at least 0.975, push_sum_weight_error at most 1e-5.
"""

from digits_layup import get_config as digits_layup


def get_config():
    config = digits_layup()
    config.name = "digits_push_sum"
    config.strategy.mixing = "push_sum"
    return config
