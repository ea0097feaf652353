"""Data: TFDS data sets by name, or arrays, as endless batches sharded over workers.

Nouns: `LoaderSpec` (what to load), `SampleForm` (how records become samples), `Loader` (the resumable
stream), `Batch` (what it gives), `DataSet` (a split, whatever it holds), `Signature` (what it looks
like to a model), `Records` (a TFDS split by index). Builders of our own: `digits` and `stdlib`.

    spec = LoaderSpec("digits", batch_size=32, seed=0, rank=rank, num_workers=4)
    with make_loader(spec) as loader:
        inputs, labels = next(loader)  # float32 (32, 8, 8, 1), int32 (32,)
    test = load_split("digits", "test")
    text = load_split("stdlib", "test", form=SampleForm(context=128), num_samples=100)

TensorFlow Datasets, grain, scikit-learn, tokenizers and Pillow are imported on first use, never by
importing this.
"""

from layup_jax.data.batch import Batch
from layup_jax.data.dataset import DataSet, open_data_set
from layup_jax.data.form import SampleForm
from layup_jax.data.loader import Loader, load_split, make_loader
from layup_jax.data.records import Records
from layup_jax.data.roles import Kind
from layup_jax.data.signature import Signature
from layup_jax.data.source import open_source, prepare_source
from layup_jax.data.spec import LoaderSpec
from layup_jax.data.tokenizer import open_tokenizer, train_tokenizer

__all__ = [
    "Batch",
    "DataSet",
    "Kind",
    "Loader",
    "LoaderSpec",
    "Records",
    "SampleForm",
    "Signature",
    "load_split",
    "make_loader",
    "open_data_set",
    "open_source",
    "open_tokenizer",
    "prepare_source",
    "train_tokenizer",
]
