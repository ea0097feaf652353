"""Opening data sets by name: any on disk, preparation, and the error sentences."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from builders import builder_class

from layup_jax.data import load_split, open_source, prepare_source, source
from layup_jax.errors import DataError


class FakeBuilder:
    """A builder whose preparation fails, after another process succeeded or not."""

    def __init__(self, folder, *, other_process_finishes):
        self.data_path = folder / "fake" / "1.0.0"
        self.data_dir_root = folder
        self.url_infos = None
        self._other_process_finishes = other_process_finishes

    def download_and_prepare(self, file_format):
        assert file_format == "array_record"
        if self._other_process_finishes:
            self.data_path.mkdir(parents=True)
        raise ConnectionError("no route to host\nlong trace")


def test_any_data_set_on_disk_opens_by_name(foreign_dir):
    records = open_source("tiny_letters", "train", foreign_dir)
    assert (len(records), records.num_classes, records.sample_bytes) == (60, 3, 4 + 8)
    batch = load_split("tiny_letters", "train[:10]", foreign_dir)
    pixels = np.rint(batch.inputs * 255).astype(int)
    assert batch.inputs.dtype == np.float32
    np.testing.assert_array_equal(pixels[:, 0] % 3, batch.labels)


def test_read_joins_chunks_in_order(digits_dir):
    records = open_source("digits", "train+test", digits_dir)
    indices = np.arange(1796, -1, -1)
    inputs, labels = records.read(indices)
    assert inputs.shape == (1797, 8, 8, 1)
    first, _ = records.read([1796])
    np.testing.assert_array_equal(inputs[0], first[0])
    np.testing.assert_array_equal(labels[-3:], records.read([2, 1, 0])[1])


def test_default_data_dir_is_that_of_tfds(digits_dir, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(digits_dir))
    assert len(open_source("digits", "test")) == 360


def test_unknown_data_set_names_the_nearest(foreign_dir):
    with pytest.raises(DataError, match=r"'tiny_leters' was not found .* are tiny_letters"):
        open_source("tiny_leters", "train", foreign_dir)
    with pytest.raises(DataError, match="nearest names are mnist"):
        open_source("mnits", "train", foreign_dir)
    with pytest.raises(DataError, match="nearest names are digits"):
        open_source("digist", "train", foreign_dir / "absent")


def test_unknown_version_and_split(digits_dir):
    with pytest.raises(DataError, match="config and version that exist"):
        open_source("digits:9.9.9", "train", digits_dir)
    with pytest.raises(DataError, match=r"split 'valid' .* use one of train, test"):
        open_source("digits", "valid", digits_dir)


def test_no_network_says_what_to_run_by_hand(tmp_path, monkeypatch):
    builder = FakeBuilder(tmp_path, other_process_finishes=False)
    monkeypatch.setattr(source, "_find_builder", lambda name, data_dir: builder)
    with pytest.raises(DataError) as caught:
        prepare_source("fake", tmp_path)
    message = str(caught.value)
    assert "(ConnectionError: no route to host)" in message
    assert 'prepare("fake")' in message
    assert message.endswith(f"copy the folder to {tmp_path}.")


@pytest.mark.parametrize("left", [None, "folders", "file"])
def test_a_host_that_nobody_knows_is_not_asked_for_minutes(tmp_path, monkeypatch, left):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    builder = FakeBuilder(tmp_path / "data", other_process_finishes=False)
    fetched = left == "file"
    builder.url_infos = {"https://host.invalid/file.zip": None}
    monkeypatch.setattr(source, "_find_builder", lambda name, data_dir: builder)
    downloads = tmp_path / "data" / "downloads" / "extracted"
    if left is not None:
        downloads.mkdir(parents=True)
    if fetched:  # by hand, or in an earlier try
        (downloads.parent / "file.zip").touch()
    with pytest.raises(DataError) as caught:
        prepare_source("fake", tmp_path / "data")
    why = "no route to host" if fetched else "there is no way to host.invalid, which has its files"
    assert why in str(caught.value)
    assert (tmp_path / "data").exists() is (left is not None)


def test_what_only_tensorflow_can_write_says_so(tmp_path):
    builder = builder_class(
        "TinyArrays",
        {"image": tfds.features.Image(shape=(4, 4, 3)), "label": tfds.features.Text()},
        [{"image": np.zeros((4, 4, 3), np.uint8), "label": ""}],
    )(data_dir=tmp_path, file_format="array_record")
    with pytest.raises(
        DataError, match=r"\(writing it, unlike .* TensorFlow: pip install tensorflow\)"
    ):
        source._generate(builder, "tiny_arrays")


def test_loser_of_the_preparation_race_uses_the_winners_files(tmp_path):
    builder = FakeBuilder(tmp_path, other_process_finishes=True)
    source._generate(builder, "fake")
    assert builder.data_path.exists()


def test_other_format_on_disk_names_the_remedy(digits_dir, tmp_path):
    shutil.copytree(digits_dir / "layup_digits", tmp_path / "layup_digits")
    info_path = tmp_path / "layup_digits" / "1.0.0" / "dataset_info.json"
    info = json.loads(info_path.read_text())
    info_path.write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    with pytest.raises(DataError, match=r"as array_record, got tfrecord in .* another data_dir"):
        open_source("digits", "train", tmp_path)


def test_records_of_several_shapes_and_without_keys(foreign_dir):
    with pytest.raises(DataError, match="records of one shape, got"):
        load_split("tiny_ragged", "train", foreign_dir)
    with pytest.raises(DataError, match="must declare supervised_keys"):
        open_source("tiny_keyless", "train", foreign_dir)


def test_import_is_light():
    program = (
        "import sys, layup_jax.data as d; print([m for m in sys.argv[1:] if m in sys.modules])"
    )
    heavy = ["tensorflow_datasets", "grain", "sklearn", "tensorflow"]
    done = subprocess.run(
        [sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
