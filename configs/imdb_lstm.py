"""A bidirectional LSTM on the reviews of IMDb; what may stand after the colon as in cifar10_resnet18.py.

    .venv/bin/python scripts/download_data.py imdb_reviews
    layup train --config=configs/imdb_lstm.py:gosgd --workers=4

The first 1,024 bytes of a review, of 257 tokens. With words in place of bytes, as Keras has it, make a
file by layup_jax.data.train_tokenizer (20,000 entries) and add --config.data.tokenizer=FILE
--config.data.context=200.

Source: the example "Bidirectional LSTM on IMDB" of Keras for the network; LayUp, arXiv 2410.05985 v3, for
the task.
Hardware: 3 or 4 GPUs, one for each worker.
Time: not measured here.
Expected result: with words accuracy about 0.87, as the example of Keras has on one device; with bytes
less, and not measured here.
"""

from cifar10_resnet18 import NAMES as NAMES
from cifar10_resnet18 import OPTIONS

from layup_jax.config import default_config


def get_config(method="layup"):
    config = default_config()
    config.name = f"imdb_lstm_{method}"
    config.batch_size = 32
    config.partition = "layer"
    config.model.name = "lstm"
    config.data.name = "imdb_reviews"
    config.data.context = 1024
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.clip_norm = 1.0
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 0.2
    config.strategy.update({"name": method, **OPTIONS.get(method, {})})
    config.stop.steps = None
    config.stop.epochs = 10.0
    config.evaluation.every_steps = 200
    config.evaluation.target = 0.85
    return config
