"""The download script: a small data set from a server on this machine, and what may be in the way."""

import hashlib
import http.server
import importlib.util
import threading
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from builders import builder_class

from layup_jax.data import open_source, source
from layup_jax.errors import DataError

SCRIPT = Path(__file__).parents[2] / "scripts" / "download_data.py"
BYTES = b"one\ntwo\nthree\nfour\n"
CHECKSUM = hashlib.sha256(BYTES).hexdigest()


def _script():
    spec = importlib.util.spec_from_file_location("download_data", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _script()


class _Server(http.server.BaseHTTPRequestHandler):
    """Serves BYTES; the first answer breaks off after 7 of them."""

    def do_GET(self):
        first = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.server.asked.append(first)
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(BYTES) - first))
        self.end_headers()
        self.wfile.write(BYTES[first:7] if len(self.server.asked) == 1 else BYTES[first:])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with http.server.HTTPServer(("127.0.0.1", 0), _Server) as server:
        server.asked = []
        server.url = f"http://127.0.0.1:{server.server_port}/words.txt"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _words(url, folder):
    """A builder whose examples are the lines of the file."""
    cls = builder_class("Words", {"text": tfds.features.Text()}, [], supervised_keys=None)
    cls.url_infos = {url: tfds.download.checksums.UrlInfo(len(BYTES), CHECKSUM, "words.txt")}

    def splits(self, downloads):
        lines = downloads.download(url).read_text().splitlines()
        return {"train": iter(enumerate({"text": line} for line in lines))}

    cls._split_generators = splits
    return cls(data_dir=folder, file_format="array_record")


def test_a_download_that_broke_off_goes_on_and_becomes_records(
    server, tmp_path, monkeypatch, capsys
):
    make = lambda name, data_dir: _words(server.url, data_dir)  # noqa: E731
    monkeypatch.setattr(script, "_builder", make)
    monkeypatch.setattr(source, "_find_builder", make)
    arguments = ["words", f"--data_dir={tmp_path}"]
    assert script.main(arguments) == 2
    assert "run this again" in capsys.readouterr().err
    assert script.main(arguments) == 0
    assert server.asked == [0, 7]
    out = capsys.readouterr().out
    assert "words: 0.00 GB to fetch, about 0.00 GB of space needed" in out
    assert f"words is complete, 0.00 GB in {tmp_path}/words" in out
    records = open_source("words", "train", tmp_path)
    assert sorted(records.read_each(range(4))[0]) == sorted(BYTES.split())
    assert script.main(arguments) == 0
    assert server.asked == [0, 7]


def test_other_bytes_than_expected_are_not_kept(server, tmp_path):
    server.asked.append(0)
    with pytest.raises(DataError, match="must have the checksum that TFDS knows"):
        script.fetch(server.url, tmp_path / "words.txt", len(BYTES), "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_one_sentence_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"got '<urlopen error .*copy the file to .*words.txt"):
        script.fetch("http://127.0.0.1:9/words.txt", tmp_path / "words.txt", 1, CHECKSUM)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "cifar10",
            "layup: writing 'cifar10', unlike reading it, needs TensorFlow, found none; run",
        ),
        ("cifar11", "layup: data set 'cifar11' must be one of TFDS"),
    ],
)
def test_what_stops_a_real_set_is_one_sentence(name, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None)
    assert script.main([name, f"--data_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(sentence)
    assert error.count("\n") == 1


def test_files_by_hand_and_space(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "_check_tensorflow", lambda name: None)
    arguments = ["imagenet2012", f"--data_dir={tmp_path}"]
    assert script.main(arguments) == 2
    error = capsys.readouterr().err
    assert f"found none in {tmp_path}/downloads/manual; put them there and run this again" in error
    assert "ILSVRC2012_img_train.tar" in error
    (tmp_path / "downloads" / "manual").mkdir(parents=True)
    (tmp_path / "downloads" / "manual" / "ILSVRC2012_img_val.tar").touch()
    usage = script.shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(script.shutil, "disk_usage", lambda path: usage)
    assert script.main(arguments) == 2
    captured = capsys.readouterr()
    assert (
        "imagenet2012: 154.64 GB to fetch by hand, about 156.00 GB of space needed" in captured.out
    )
    assert "needs about 156.0 GB, got 1.0 GB" in captured.err
