import struct
import sys

import pytest

from layup_jax.errors import ConfigError
from layup_jax.metrics import TensorBoardWriter
from tests.metrics.synthetic import evaluation_record, step_record


def read_events(folder):
    """Each record of the file: length, its checksum, an Event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    (file,) = folder.glob("events.out.tfevents.*")
    content, events, start = file.read_bytes(), [], 0
    while start < len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        events.append(Event.FromString(content[start + 12 : start + 12 + length]))
        start += 12 + length + 4
    return events


def test_events_can_be_read_back(tmp_path):
    with TensorBoardWriter(tmp_path / "rank0") as writer:
        writer.write(step_record(step=10, loss=0.5, staleness=(1.0, 2.0)))
        writer.write(evaluation_record(step=50, test_accuracy=0.75, mean_test_accuracy=0.875))
    header, step, evaluation = read_events(tmp_path / "rank0")
    assert header.file_version == "brain.Event:2"
    assert (step.step, evaluation.step) == (10, 50)
    values = {value.tag: value.simple_value for value in step.summary.value}
    assert values["train/loss"] == 0.5
    assert values["train/staleness_mean"] == 1.5
    assert values["train/waiting_seconds/store"] == 0.25
    assert "train/push_sum_weight_min" not in values
    values = {value.tag: value.simple_value for value in evaluation.summary.value}
    assert values["evaluation/test_accuracy"] == 0.75
    assert values["evaluation/mean_test_accuracy"] == 0.875
    assert "evaluation/consensus_distance" not in values


def test_close_may_be_repeated_and_ends_writing(tmp_path):
    writer = TensorBoardWriter(tmp_path)
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(step_record())


def test_the_package_is_named_where_it_is_missing(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tensorboardX")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match=r"pip install layup_jax\[tensorboard\]"):
        TensorBoardWriter(tmp_path)
