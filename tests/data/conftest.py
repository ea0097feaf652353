"""Real TFDS files for the data tests, made once a session."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from builders import builder_class, prepared
from PIL import Image
from texts import DOCUMENTS, REVIEWS

_ROOT = Path(__file__).parents[2]
_PREPARE = """
import sys
import sklearn.datasets, tensorflow_datasets  # slow imports first, so that the processes collide
from layup_jax.data import prepare_source
print("ready", flush=True)
sys.stdin.readline()
builder = prepare_source("digits", sys.argv[1])
print({split: info.num_examples for split, info in builder.info.splits.items()})
assert "tensorflow" not in sys.modules
"""


@pytest.fixture(scope="session", autouse=True)
def _what_tfds_leaves(tmp_path_factory):
    """TFDS forgets an empty temporary folder for each builder that it looks up in vain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("left_by_tfds")))
        yield


@pytest.fixture(scope="session")
def raced_preparation(tmp_path_factory):
    """Two processes prepare digits in one folder at once: (folder, exit codes, last lines)."""
    folder = tmp_path_factory.mktemp("tfds")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", _PREPARE, str(folder)]
    racers = [subprocess.Popen(command, cwd=_ROOT, **pipes) for _ in range(2)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    outputs = [racer.communicate(timeout=60)[0] for racer in racers]
    return folder, [racer.returncode for racer in racers], [o.splitlines()[-1] for o in outputs]


@pytest.fixture(scope="session")
def digits_dir(raced_preparation):
    return raced_preparation[0]


def _pixels(length):
    return tfds.features.Tensor(shape=(length,), dtype=np.uint8)


@pytest.fixture(scope="session")
def foreign_dir(tmp_path_factory):
    """A folder with three data sets on disk and no code for them."""
    folder = tmp_path_factory.mktemp("foreign")
    label = tfds.features.ClassLabel(num_classes=3)
    even = [{"pixels": np.full(4, i, np.uint8), "class": i % 3} for i in range(60)]
    ragged = [{"pixels": np.zeros(1 + i, np.uint8), "class": 0} for i in range(4)]
    fixed = {"pixels": _pixels(4), "class": label}
    return prepared(
        folder,
        builder_class("TinyLetters", fixed, even),
        builder_class("TinyKeyless", fixed, even[:5], None),
        builder_class(
            "TinyRagged",
            {"pixels": _pixels(None), "class": label},
            ragged,
        ),
    )


def _picture(shape, number):
    """A picture whose pixels differ from each other and from those of other numbers; none is 0."""
    pixels = np.random.default_rng(number).integers(1, 256, shape, np.uint8)
    return {"image": Image.fromarray(pixels), "label": number % 3}


@pytest.fixture(scope="session")
def image_dir(tmp_path_factory):
    """Pictures like those of CIFAR, and pictures of several sizes like those of ImageNet."""
    sizes = [(20 + 7 * i, 30 + 5 * (i % 4), 3) for i in range(12)]

    def features(*shape):
        label = tfds.features.ClassLabel(num_classes=3)
        return {"image": tfds.features.Image(shape=shape), "label": label}

    keys = ("image", "label")
    same = [_picture((32, 32, 3), i) for i in range(40)]
    sized = [_picture(shape, i) for i, shape in enumerate(sizes)]
    return prepared(
        tmp_path_factory.mktemp("images"),
        builder_class("TinyPictures", features(32, 32, 3), same, keys, test=same[:6]),
        builder_class("TinySizes", features(None, None, 3), sized, keys, test=sized[:6]),
    )


@pytest.fixture(scope="session")
def text_dir(tmp_path_factory):
    """Documents, in the order of `DOCUMENTS`, and texts with labels; one data set is ambiguous."""
    text = tfds.features.Text()
    documents = [{"text": each, "path": str(i)} for i, each in enumerate(DOCUMENTS)]
    unknown = [{"text": "?", "label": -1}, *REVIEWS]
    two = [{"left": "a", "right": "b"}] * 3
    labelled = {"text": text, "label": tfds.features.ClassLabel(num_classes=2)}
    keys = ("text", "label")
    return prepared(
        tmp_path_factory.mktemp("texts"),
        builder_class(
            "TinyDocuments", {"text": text, "path": text}, documents, None, documents[:9], True
        ),
        builder_class("TinyReviews", labelled, REVIEWS, keys, REVIEWS[:8], True),
        builder_class("TinyUnknown", labelled, unknown, keys),
        builder_class("TinyPairs", {"left": text, "right": text}, two, None),
        builder_class("TinySame", {"left": text, "right": text}, two, ("right", "right")),
    )
