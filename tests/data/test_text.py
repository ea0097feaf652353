"""Text as samples: windows of documents, rows with a class, and what is said about unfit ones."""

import dataclasses
import json
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from texts import DOCUMENTS, REVIEWS

from layup_jax.data import (
    Kind,
    LoaderSpec,
    SampleForm,
    load_split,
    make_loader,
    open_data_set,
    open_source,
    open_tokenizer,
    train_tokenizer,
)
from layup_jax.data.tokenizer import smallest_dtype
from layup_jax.errors import ConfigError, DataError

END = 256


@pytest.fixture
def spec(text_dir):
    form = SampleForm(context=7)
    return LoaderSpec("tiny_documents", batch_size=2, data_dir=text_dir, num_workers=3, form=form)


@pytest.fixture(scope="session")
def bpe(text_dir, tmp_path_factory):
    """A byte-pair encoding of the documents, in a file."""
    path = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    train_tokenizer(open_source("tiny_documents", "train", text_dir), path, vocabulary=280)
    return str(path)


def row(documents):
    """The tokens of documents: their bytes, each document followed by its end."""
    return np.concatenate([[*document.encode(), END] for document in documents])


def epoch(spec, number=0):
    with make_loader(dataclasses.replace(spec, batch_size=1)) as loader:
        size = loader.batches_per_epoch
        batches = list(islice(loader, size * (number + 1)))[size * number :]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def rows(array):
    return sorted(map(tuple, array.tolist()))


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_the_windows_of_an_epoch_are_the_tokens_of_the_shard(spec, rank):
    tokens = row(DOCUMENTS[:30][rank::3])
    count = (len(tokens) - 1) // 7
    for number in (0, 1):
        inputs, labels = epoch(dataclasses.replace(spec, rank=rank), number)
        assert inputs.dtype == labels.dtype == np.int32
        assert rows(inputs) == rows(tokens[: 7 * count].reshape(count, 7))
        np.testing.assert_array_equal(inputs[:, 1:], labels[:, :-1])
        both = np.concatenate([inputs, labels[:, -1:]], axis=1)
        assert rows(both) == sorted(tuple(tokens[7 * i : 7 * i + 8].tolist()) for i in range(count))


def test_epochs_differ_in_order_and_repeat_with_their_seed(spec):
    first, second = epoch(spec)[0], epoch(spec, 1)[0]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, epoch(spec)[0])
    other = epoch(dataclasses.replace(spec, seed=1))[0]
    assert not np.array_equal(first, other)
    assert rows(first) == rows(other)


def test_text_resumes_where_it_was(spec):
    with make_loader(spec) as loader:
        whole = list(islice(loader, 40))
        state = json.loads(json.dumps(loader.get_state()))
        following = list(islice(loader, 40))
    with make_loader(spec) as loader:
        loader.set_state(state)
        np.testing.assert_equal(list(islice(loader, 40)), following)
    assert whole[0].inputs.shape == (2, 7)
    assert whole[0].inputs.flags.c_contiguous
    assert whole[0].labels.flags.c_contiguous


def test_evaluation_has_all_documents_or_some_windows_evenly_spread(text_dir):
    form = SampleForm(context=4)
    whole = load_split("tiny_documents", "test", text_dir, form=form)
    tokens = row(DOCUMENTS[:9])
    np.testing.assert_array_equal(whole.labels.ravel(), tokens[1 : whole.labels.size + 1])
    some = load_split("tiny_documents", "test", text_dir, form=form, num_samples=5)
    indices = np.arange(5) * len(whole.inputs) // 5
    np.testing.assert_array_equal(some.inputs, whole.inputs[indices])
    many = load_split("tiny_documents", "test", text_dir, form=form, num_samples=10**6)
    np.testing.assert_array_equal(many.inputs, whole.inputs)


def test_signatures_tell_what_a_model_sees(text_dir, digits_dir):
    form = SampleForm(context=9)
    documents = open_data_set("tiny_documents", "train", text_dir, form).signature
    assert documents[:2] == (Kind.DOCUMENTS, (9,))
    assert documents[3:] == ((9,), 257, 257)
    reviews = open_data_set("tiny_reviews", "train", text_dir, form).signature
    assert reviews[:2] == (Kind.LABELLED_TEXTS, (9,))
    assert reviews[3:] == ((), 2, 258)
    digits = open_data_set("digits", "train", digits_dir).signature
    assert digits == (Kind.ARRAYS, (8, 8, 1), np.float32, (), 10, None)
    for signature in (documents, reviews, digits):
        example = signature.example()
        assert example.inputs.shape == (1, *signature.input_shape)
        assert example.inputs.dtype == signature.input_dtype
        assert example.labels.shape == (1, *signature.label_shape)
    assert open_source("tiny_same", "train", text_dir).kind is Kind.DOCUMENTS


def test_classified_texts_are_cut_or_filled_up(text_dir):
    form = SampleForm(context=12)
    batch = load_split("tiny_reviews", "train", text_dir, form=form)
    assert batch.inputs.dtype == batch.labels.dtype == np.int32
    for tokens, label, review in zip(*batch, REVIEWS, strict=True):
        text = review["text"].encode()[:12]
        np.testing.assert_array_equal(tokens, [*(byte + 1 for byte in text), *[0] * 12][:12])
        assert label == review["label"]
    spec = LoaderSpec(
        "tiny_reviews", batch_size=5, rank=1, num_workers=2, data_dir=text_dir, form=form
    )
    with make_loader(spec) as loader:
        seen = np.concatenate([next(loader).inputs for _ in range(2)])
    assert rows(seen) == rows(batch.inputs[1::2])


def test_bytes_and_learned_tokens_are_undone(bpe):
    texts = [*DOCUMENTS, "ünïcode ☃ \x00\r\n\t  x", "<|endoftext|>", ""]
    for name in ("bytes", bpe):
        tokenizer = open_tokenizer(name)
        encoded = tokenizer.encode([text.encode() for text in texts])
        assert [tokenizer.decode(ids) for ids in encoded] == texts
        everything = np.concatenate(encoded)
        assert everything.dtype == smallest_dtype(tokenizer.vocabulary) == np.uint16
        assert everything.max() < tokenizer.vocabulary
        assert tokenizer.end < tokenizer.vocabulary
        assert tokenizer.end not in everything
    assert open_tokenizer(bpe).vocabulary <= 280
    assert sum(map(len, open_tokenizer(bpe).encode([DOCUMENTS[30].encode()]))) < 50


def test_a_learned_tokenizer_makes_windows(text_dir, bpe):
    form = SampleForm(context=5, tokenizer=bpe)
    batch = load_split("tiny_documents", "test", text_dir, form=form)
    tokenizer = open_tokenizer(bpe)
    ids = batch.inputs.ravel()
    documents = [
        tokenizer.decode(part[part != tokenizer.end])
        for part in np.split(ids, np.flatnonzero(ids == tokenizer.end) + 1)
    ]
    assert documents[:-1] == DOCUMENTS[: len(documents) - 1]
    assert len(documents) >= 8


def test_a_tokenizer_without_an_end_gets_one(bpe, tmp_path):
    described = json.loads(Path(bpe).read_text())
    vocabulary = described["model"]["vocab"]
    del vocabulary["<|endoftext|>"]
    described["added_tokens"] = []
    path = tmp_path / "endless.json"
    path.write_text(json.dumps(described))
    tokenizer = open_tokenizer(str(path))
    assert tokenizer.end == max(vocabulary.values()) + 1 == tokenizer.vocabulary - 1


@pytest.mark.parametrize(
    ("vocabulary", "dtype"),
    [(256, np.uint8), (257, np.uint16), (2**16, np.uint16), (2**16 + 1, np.uint32)],
)
def test_tokens_are_kept_as_small_as_they_fit(vocabulary, dtype):
    assert smallest_dtype(vocabulary) == dtype


def test_too_few_tokens_or_windows(spec):
    with pytest.raises(
        DataError, match=r"more than context=9999 tokens for worker 0 of 3, got \d+ in 10 documents"
    ):
        make_loader(dataclasses.replace(spec, form=SampleForm(context=9999)))
    with pytest.raises(DataError, match="for evaluation"):
        load_split(spec.name, "test", spec.data_dir, form=SampleForm(context=9999))
    with pytest.raises(DataError, match=r"batch_size must be at most \d+, .* windows of 7 tokens"):
        make_loader(dataclasses.replace(spec, batch_size=999))
    with pytest.raises(DataError, match="got 31 samples for 32 workers"):
        make_loader(dataclasses.replace(spec, num_workers=32))


def test_labels_and_vocabularies_that_do_not_fit(spec, text_dir):
    with pytest.raises(DataError, match="at least 257, the vocabulary of tokenizer 'bytes', got 9"):
        make_loader(dataclasses.replace(spec, num_classes=9))
    with pytest.raises(DataError, match=r"in \[0, 2\), got values from -1 to 1"):
        make_loader(LoaderSpec("tiny_unknown", batch_size=1, data_dir=text_dir))
    with pytest.raises(DataError, match=r"in \[0, 2\), got values from -1 to 1"):
        load_split("tiny_unknown", "train", text_dir)
    with pytest.raises(DataError, match="one named 'text', got left, right"):
        open_source("tiny_pairs", "train", text_dir)


def test_unknown_or_unfit_tokenizers(text_dir, digits_dir, tmp_path, monkeypatch, bpe):
    def opened(name):
        return open_data_set("tiny_documents", "train", text_dir, SampleForm(tokenizer=name))

    with pytest.raises(DataError, match=r"got 'absent\.json', which does not exist; give the path"):
        opened("absent.json")
    path = tmp_path / "other.json"
    path.write_text('{"a": 1}')
    with pytest.raises(DataError, match=r"other\.json' must be one of the tokenizers library"):
        opened(str(path))
    with pytest.raises(DataError, match="must hold texts, got arrays with labels"):
        train_tokenizer(open_source("digits", "test", digits_dir), path, vocabulary=300)
    with pytest.raises(ConfigError, match=r"vocabulary must be at least 257, .* got 256; raise it"):
        train_tokenizer(open_source("tiny_documents", "train", text_dir), path, vocabulary=256)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"needs the package tokenizers.*layup_jax\[text\]"):
        opened(bpe)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": 0}, "context must be at least 1, got 0"),
        ({"crop_padding": 0}, "crop_padding must be at least 1, got 0"),
        ({"image_size": 0}, "image_size must be at least 1, got 0"),
        ({"augment": "flip"}, "unknown augment 'flip'; did you mean 'crop_flip'"),
        ({"normalize": "cifar"}, "unknown normalize 'cifar'; did you mean 'cifar10"),
    ],
)
def test_a_form_checks_its_values(changes, message):
    with pytest.raises(ConfigError, match=message):
        SampleForm(**changes)
