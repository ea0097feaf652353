"""Any algorithm on the digits data: after the colon its name, or push_sum, or post_local_sgd.

    layup train --config=configs/digits.py:slowmo --workers=4

Everything but the algorithm as in digits_layup.py. Source: `layup list`, and the file of the algorithm in
layup_jax/strategies; the options below are ours, for 300 steps where the papers have many thousands.
Hardware: any CPU with two cores.
Time: about 6 s of training for 4 workers on two cores, half a minute with start-up.
Expected result: test accuracy of the mean model at least 0.97; of `local` and `fused` about that, for
their workers go apart from each other.
"""

from digits_layup import get_config as digits_layup

from layup_jax.strategies import STRATEGIES

# What 300 steps need and the defaults are not; what is not here is as the algorithm has it.
OPTIONS = {
    # Rounds of 8 steps get so far that late means are overshot unless these two sum to less than 1.
    "co2": {"period": 8, "outer_learning_rate": 0.3, "outer_momentum": 0.5},
    "diloco": {"period": 10, "outer_learning_rate": 0.5},
    "local_sgd": {"period": 8},
    "post_local_sgd": {"name": "local_sgd", "local_from": 100},
    "push_sum": {"name": "layup", "mixing": "push_sum"},
    "slowmo": {"period": 8, "outer_momentum": 0.5},
    "streaming_diloco": {"period": 20, "fragments": 2, "delay_steps": 2},
}
NAMES = sorted({*STRATEGIES, *OPTIONS})


def get_config(method="layup"):
    config = digits_layup()
    config.name = f"digits_{method}"
    config.strategy.update({"name": method, **OPTIONS.get(method, {})})
    return config
