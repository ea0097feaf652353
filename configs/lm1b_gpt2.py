"""GPT-2 small from scratch on the One Billion Word benchmark; after the colon as in cifar10_resnet18.py.

    .venv/bin/python scripts/download_data.py lm1b
    layup train --config=configs/lm1b_gpt2.py:diloco --workers=8

A fifth of the text, six million sentences joined to one row. Any other set of documents does, such as C4
prepared elsewhere: --config.data.name=c4/realnewslike --config.data.test_split=validation. Documents have
no known number of samples, so steps are counted. Bytes are the tokens; with the tokenizer.json that is
published with GPT-2 add --config.data.tokenizer=FILE.

Source: Radford et al. 2019 for the network; DiLoCo, arXiv 2311.08105, for optimizer and schedule: AdamW
4e-4, 1,000 steps of warm-up, cosine, norm of gradients at most 1 (here of each segment). The rest
is ours.
Hardware: 8 GPUs of 40 GB, one for each worker; 124 million parameters, 86 million with bytes for tokens.
Time: not measured here.
Expected result: not measured here, and no paper has this very run.
"""

from cifar10_resnet18 import NAMES as NAMES
from cifar10_resnet18 import OPTIONS

from layup_jax.config import default_config


def get_config(method="layup"):
    config = default_config()
    config.name = f"lm1b_gpt2_{method}"
    config.batch_size = 8
    config.partition = "layer"
    config.compute_dtype = "bfloat16"
    config.model.name = "gpt2"
    config.model.options = {"size": "small", "dropout": 0.0}
    config.data.name = "lm1b"
    config.data.train_split = "train[:20%]"
    config.data.test_split = "test[:10%]"
    config.data.context = 1024
    config.data.test_samples = 512
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 4e-4
    config.optimizer.weight_decay = 0.1
    config.optimizer.clip_norm = 1.0
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 1000
    config.strategy.update({"name": method, **OPTIONS.get(method, {})})
    config.stop.steps = 25_000
    config.evaluation.every_steps = 1000
    config.evaluation.target = 0.4
    return config
