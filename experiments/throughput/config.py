"""What all methods of the throughput experiment share; started by `python -m experiments.throughput`.

The workers train for a time, not for steps, and evaluate at the end only. The partition is the default,
`auto`; results.json says for every run how many segments it chose.
Hardware, time, expected result: see README.md.
"""

from typing import Any

from layup_jax.config import default_config


def get_config():
    config: Any = default_config()
    config.name = "throughput"
    config.batch_size = 32
    config.partition = "auto"
    config.model.name = "conv"
    config.data.name = "digits"
    config.evaluation.every_steps = 0
    config.stop.steps = 10_000_000
    return config
