"""GPT-2 small from scratch on text of C4; what may stand after the colon as in cifar10_resnet18.py.

    .venv/bin/python scripts/download_data.py c4/realnewslike
    layup train --config=configs/c4_gpt2.py:diloco --workers=8

Two million documents, about as many tokens as MiniPile has; any other TFDS set of documents does, such as
--config.data.name=lm1b --config.data.test_split=test. Documents have no number of samples: steps are
counted. Bytes are the tokens; with the tokenizer.json that is published with GPT-2 add
--config.data.tokenizer=FILE.

Source: Radford et al. 2019 for the network; DiLoCo, arXiv 2311.08105, for optimizer and schedule: AdamW
4e-4, 1,000 steps of warm-up, cosine, norm of gradients at most 1 (ours of each segment). The rest is
ours.
Hardware: 8 GPUs of 40 GB, one for each worker; 124 million parameters (with bytes for tokens 86 million).
Time: not measured here.
Expected result: not measured here, and no paper has this very run; with the tokens of GPT-2 the test loss
of models of this size on C4 lies between 3 and 3.5 nats.
"""

from cifar10_resnet18 import NAMES as NAMES
from cifar10_resnet18 import OPTIONS

from layup_jax.config import default_config


def get_config(method="layup"):
    config = default_config()
    config.name = f"c4_gpt2_{method}"
    config.batch_size = 8
    config.partition = "layer"
    config.compute_dtype = "bfloat16"
    config.model.name = "gpt2"
    config.model.options = {"size": "small", "dropout": 0.0}
    config.data.name = "c4/realnewslike"
    config.data.train_split = "train[:2000000]"
    config.data.test_split = "validation[:2000]"
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
