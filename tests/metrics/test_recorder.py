import json
import math
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from layup_jax.errors import RunFolderError
from layup_jax.metrics import MetricsRecorder, read_metrics
from layup_jax.metrics.records import decode, encode
from tests.metrics.synthetic import evaluation_record, step_record

LINES = (
    step_record(rank=3, step=10),
    step_record(push_sum_weight_min=0.5, push_sum_weight_max=1.25, staleness=()),
    evaluation_record(),
    evaluation_record(mean_test_accuracy=0.95, consensus_distance=0.1),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rank3" / "metrics.jsonl"


def write(path, *lines):
    with MetricsRecorder(path) as recorder:
        for line in lines:
            recorder.write(line)


@pytest.mark.parametrize("line", LINES)
def test_decode_inverts_encode(line):
    assert decode(encode(line)) == line


def test_reading_inverts_writing(path):
    write(path, *LINES)
    assert read_metrics(path) == LINES


def test_lines_are_in_the_file_before_close(path):
    recorder = MetricsRecorder(path)
    recorder.write(LINES[0])
    assert read_metrics(path) == LINES[:1]
    recorder.close()
    recorder.close()
    with pytest.raises(ValueError, match="closed"):
        recorder.write(LINES[0])


def test_lines_survive_a_kill(path):
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from layup_jax.metrics import EvaluationRecord, MetricsRecorder\n"
        "recorder = MetricsRecorder(Path(sys.argv[1]))\n"
        "recorder.write(EvaluationRecord(0, 50, 1.0, 0.9, 0.3))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert read_metrics(path) == (evaluation_record(train_seconds=1.0),)


def test_floats_that_are_not_finite_are_valid_json_and_come_back(path):
    write(path, step_record(loss=math.nan, staleness=(math.inf, -math.inf)))
    text = path.read_text()

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(text, parse_constant=refuse)["loss"] == "nan"
    (record,) = read_metrics(path)
    assert math.isnan(record.loss)
    assert record.staleness == (math.inf, -math.inf)


@pytest.mark.parametrize("loss", [np.float32(0.5), np.array(0.5), np.float32("inf")])
def test_scalars_of_numpy_are_written_as_numbers(path, loss):
    write(path, step_record(loss=loss, staleness=np.array([0.5, 1.0])))
    (record,) = read_metrics(path)
    assert record.loss == float(loss)
    assert record.staleness == (0.5, 1.0)


def test_other_objects_are_refused(path):
    with pytest.raises(TypeError, match="plain values, got object"):
        write(path, step_record(loss=object()))


@pytest.mark.parametrize("rest", [b"{", b'{"kind": "step", "ra', b'{"kind": "st\xc3', b"\x00\x00"])
def test_the_truncated_last_line_of_a_killed_worker_is_left_out(path, rest):
    write(path, *LINES)
    with path.open("ab") as file:
        file.write(rest)
    assert read_metrics(path) == LINES


def test_appending_cuts_off_a_truncated_line(path):
    write(path, LINES[0])
    with path.open("ab") as file:
        file.write(b'{"kind": "st')
    write(path, LINES[1])
    assert read_metrics(path) == LINES[:2]


@pytest.mark.parametrize("text", ["nonsense", '{"kind": "other"}', '{"kind": "step"}', "[]", "3"])
def test_a_spoilt_line_in_the_middle_is_an_error(path, text):
    write(path, LINES[0])
    with path.open("a") as file:
        file.write(text + "\n")
    write(path, LINES[1])
    with pytest.raises(RunFolderError, match=r"line 2 of .* must be a record .* delete that line"):
        read_metrics(path)


def test_a_worker_that_wrote_nothing_has_no_lines(path):
    assert read_metrics(path) == ()
    write(path)
    assert read_metrics(path) == ()


def test_threads_do_not_mix_their_lines(path):
    with MetricsRecorder(path) as recorder:

        def work(rank):
            for step in range(200):
                recorder.write(step_record(rank=rank, step=step))

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = read_metrics(path)
    for rank in range(4):
        assert [line.step for line in lines if line.rank == rank] == list(range(200))


def test_a_line_is_cheap(path):
    line, best = step_record(staleness=(0.5,) * 20), math.inf
    with MetricsRecorder(path) as recorder:
        for _ in range(20):
            start = time.perf_counter()
            for _ in range(50):
                recorder.write(line)
            best = min(best, (time.perf_counter() - start) / 50)
    assert best < 100e-6  # 50 µs on an idle core is the aim; the factor is for a busy one
