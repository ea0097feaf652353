"""Any algorithm on emulated accelerators: each layer takes 10 ms forward and 20 ms backward, asleep.

    layup train --config=configs/emulated.py:ddp --workers=4
    layup train --config=configs/emulated.py:layup --hosts=virtual      # over links of a set rate

Four workers then leave most of two cores free, so that what is seen is how communication overlaps with
computation. A perceptron of 4.3 million parameters on the digits; after the colon a name as in digits.py.
Workers' own models are evaluated, because a mean would itself take the network. Steps are those of each
worker, so a slow one ends last; `--config.stop.samples=10000 --config.stop.steps=1000000` ends all alike.

PD-ASGD has a learning rate and a momentum of its own: gradients that are some updates old add momentum,
and with those of the others it gets less far. See experiments/stragglers.

Source: ours; the papers had real accelerators. Hardware: any CPU with two cores.
Time: 20 s of training without communication. Expected result: test accuracy 0.95 after 50 to 60 steps.
"""

from digits import OPTIONS

from layup_jax.config import default_config


def get_config(method="layup"):
    config = default_config()
    config.name = f"emulated_{method}"
    config.batch_size = 32
    config.partition = "layer"
    config.model.name = "mlp"
    config.model.options = {"width": 1024, "depth": 6}
    is_stale = method == "pd_asgd"
    config.optimizer.learning_rate = 0.04 if is_stale else 0.02
    config.optimizer.momentum = 0.5 if is_stale else 0.9
    config.emulation.forward_seconds = 0.010
    config.emulation.backward_seconds = 0.020
    config.strategy.update({"name": method, **OPTIONS.get(method, {})})
    config.transport.data_plane = "host"  # it waits asleep; mpi4jax would keep a core busy
    config.transport.share = 1.0  # the cores are free
    config.stop.steps = 80
    config.evaluation.every_steps = 5
    config.evaluation.model = "own"
    config.evaluation.target = 0.95
    return config
