"""Files that are damaged or gone: which one, and what to do."""

import shutil

import numpy as np
import pytest

from layup_jax.data import LoaderSpec, load_split, make_loader
from layup_jax.errors import DataError

BLOCK = 2**16


@pytest.fixture(params=["layup_digits/1.0.0", "tiny_documents/2.1.0", "tiny_pictures/2.1.0"])
def copied(request, tmp_path, digits_dir, text_dir, image_dir):
    """(folder, name, file of the training split) of a data set that may be damaged."""
    name, version = request.param.split("/")
    source = {"layup_digits": digits_dir, "tiny_documents": text_dir}.get(name, image_dir)
    shutil.copytree(source / name, tmp_path / name)
    (path,) = (tmp_path / name / version).glob("*-train.*")
    return tmp_path, name.removeprefix("layup_"), path


def cut_between_blocks(content):
    return content[:BLOCK]


def cut(content):
    return content[: BLOCK + BLOCK // 3]


def overwrite(content):
    return content[:100] + bytes(len(content) - 200) + content[-100:]


def overwrite_a_little(content):
    return content[:300] + b"junk" * 20 + content[380:]


def replace(content):
    return np.random.default_rng(0).bytes(len(content))


def empty(content):
    return content[:0]


@pytest.mark.parametrize(
    "damage", [cut_between_blocks, cut, overwrite, overwrite_a_little, replace, empty, None]
)
def test_a_damaged_file_is_named_with_the_remedy(copied, damage):
    folder, name, path = copied
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        load_split(name, "train", folder)
    message = str(caught.value)
    assert f"data set {name!r} train must be whole, but its file {path.name} is damaged" in message
    assert message.endswith(f"delete {path.parent} and prepare or copy it again")
    with pytest.raises(DataError, match="is damaged"):
        make_loader(LoaderSpec(name, batch_size=1, data_dir=folder))


def test_what_is_prepared_again_is_whole(tmp_path, digits_dir):
    shutil.copytree(digits_dir / "layup_digits", tmp_path / "layup_digits")
    folder = tmp_path / "layup_digits" / "1.0.0"
    next(folder.glob("*-test.*")).write_bytes(b"")
    with pytest.raises(DataError, match="layup_digits-test"):
        load_split("digits", "test", tmp_path)
    assert len(load_split("digits", "train", tmp_path).labels) == 1437
    shutil.rmtree(folder)
    assert len(load_split("digits", "test", tmp_path).labels) == 360
