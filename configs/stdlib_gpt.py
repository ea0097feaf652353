"""A small GPT on the source text of Python's own standard library, byte by byte.

    layup train --config=configs/stdlib_gpt.py --workers=4
    layup train --config=configs/stdlib_gpt.py:ddp --workers=4

Nothing is downloaded: the text, 30 MB to train on and split by file, is that of the running Python. After
the colon comes a name as in configs/digits.py; LayUp without.

LayUp has twice the learning rate of the others. AdamW divides by the root of the mean squared gradient,
noise included; a worker alone has more of it than a mean over four, so its steps are shorter. DDP with
the rate of LayUp gets less far than with half of it; see experiments/time_to_accuracy.

Source: LayUp, arXiv 2410.05985 v4; a model of GPT-2's kind (Radford et al. 2019), 0.84 M parameters.
Hardware: any CPU with two cores.
Time: about 5 minutes of training for 4 workers on two cores.
Expected result: at most 2.4 bits per byte on files that were not trained on, for LayUp.
"""

from digits import OPTIONS

from layup_jax.config import default_config


def get_config(method="layup"):
    config = default_config()
    config.name = f"stdlib_gpt_{method}"
    config.batch_size = 16
    config.partition = "layer"
    config.model.name = "gpt"
    config.model.options = {"depth": 4, "width": 128, "heads": 4}
    config.data.name = "stdlib"
    config.data.context = 128
    config.data.test_samples = 256
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-2 if method == "layup" else 5e-3
    config.optimizer.weight_decay = 0.1
    config.optimizer.clip_norm = 1.0
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.transport.share = 0.15  # averages are worth it here: steps take half a second
    config.strategy.update({"name": method, **OPTIONS.get(method, {})})
    config.stop.steps = 600
    config.evaluation.every_steps = 100
    config.evaluation.target = 0.55
    config.log_every_steps = 10
    return config
