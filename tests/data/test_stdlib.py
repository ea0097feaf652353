"""The standard library as text: what is in it, and which files are for testing."""

import shutil
import sys
from pathlib import Path, PurePosixPath

import pytest

from layup_jax.data import load_split, open_source
from layup_jax.data.form import SampleForm
from layup_jax.data.records import Records
from layup_jax.data.stdlib import LayupStdlib, StdlibConfig, is_test_path

TEXTS = {f"part{i % 3}/module{i}.py": f"'''Module ä {i}.'''\n" for i in range(60)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A small library with things in it that are to be left out."""
    root = tmp_path_factory.mktemp("library")
    left_out = {
        "site-packages/other.py": b"1",
        "part0/dist-packages/other.py": b"2",
        "part0/__pycache__/module0.py": b"3",
        "part0/latin.py": "# é".encode("latin-1"),
        "part0/data.txt": b"4",
    }
    for name, content in left_out.items() | {(k, v.encode()) for k, v in TEXTS.items()}:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def prepared(tree, folder, name="fake"):
    config = StdlibConfig(name=name, root=tree)
    builder = LayupStdlib(config=config, data_dir=folder, file_format="array_record")
    builder.download_and_prepare()
    return builder


def texts(builder, split):
    source = builder.as_data_source(split)
    return {record["path"].decode(): record["text"].decode() for record in source}


def test_splits_are_all_files_in_order_and_disjoint(tree, tmp_path):
    builder = prepared(tree, tmp_path)
    train, test = texts(builder, "train"), texts(builder, "test")
    assert train | test == TEXTS
    assert not train.keys() & test.keys()
    assert list(test) == sorted(filter(lambda path: is_test_path(PurePosixPath(path)), TEXTS))
    assert list(train) == sorted(train.keys(), key=PurePosixPath)
    records = Records(builder.as_data_source("test"), builder.info, name="fake")
    assert records.read_each([0])[0] == [TEXTS[next(iter(test))].encode()]


def test_a_file_stays_in_its_split_when_others_come_and_go(tree, tmp_path):
    tree = Path(shutil.copytree(tree, tmp_path / "library"))
    before = texts(prepared(tree, tmp_path), "test")
    (tree / "part0" / "aaa.py").write_text("new")
    (tree / "part1" / "module1.py").unlink()
    after = texts(prepared(tree, tmp_path, "later"), "test")
    changed = {"part0/aaa.py", "part1/module1.py"}
    assert before.keys() - changed == after.keys() - changed


def test_which_paths_are_for_testing_never_changes():
    chosen = [path for path in TEXTS if is_test_path(PurePosixPath(path))]
    assert chosen == ["part1/module28.py", "part2/module41.py"]


def test_the_library_of_this_python_is_prepared_by_name(tmp_path):
    windows = load_split("stdlib", "test", tmp_path, form=SampleForm(context=64), num_samples=10)
    assert windows.inputs.shape == (10, 64)
    folder = f"layup_stdlib/{sys.version_info.major}.{sys.version_info.minor}"
    versions = [path.name for path in Path(tmp_path, folder).iterdir()]
    assert versions == [f"1.0.{sys.version_info.micro}"]
    train, test = (open_source("stdlib", split, tmp_path) for split in ("train", "test"))
    assert 10 < len(train) / len(test) < 40
    assert b"def join(" in b"".join(train.read_each(range(len(train)))[0])
    assert "tensorflow" not in sys.modules
