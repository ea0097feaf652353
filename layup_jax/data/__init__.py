"""Data: TFDS data sets by name, or arrays, as endless batches sharded over workers.

Nouns: `LoaderSpec` (what to load), `Loader` (the resumable stream), `Batch` (what it gives),
`Records` (a TFDS split by index). The digits builder is `layup_jax.data.digits.LayupDigits`.

    spec = LoaderSpec("digits", batch_size=32, seed=0, rank=rank, num_workers=4)
    with make_loader(spec) as loader:
        inputs, labels = next(loader)  # float32 (32, 8, 8, 1), int32 (32,)
    test = load_split("digits", "test")

TensorFlow Datasets, grain and scikit-learn are imported on first use, never by importing this.
"""

from layup_jax.data.batch import Batch
from layup_jax.data.loader import Loader, load_split, make_loader
from layup_jax.data.records import Records
from layup_jax.data.source import open_source, prepare_source
from layup_jax.data.spec import LoaderSpec

__all__ = [
    "Batch",
    "Loader",
    "LoaderSpec",
    "Records",
    "load_split",
    "make_loader",
    "open_source",
    "prepare_source",
]
