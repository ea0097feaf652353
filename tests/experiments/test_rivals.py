"""The rivals of throughput: what is installed, one sentence for errors, the same network, short runs."""

import importlib.util
import json
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments.harness import ExperimentError
from experiments.throughput import rivals
from experiments.throughput.rivals import training
from experiments.throughput.rivals.digits import digit_batches, training_digits
from experiments.throughput.rivals.task import Task
from layup_jax.models import conv

TASK = Task("torch_ddp", rank=0, workers=4, port=40123, seconds=6.0, delay_seconds=0.05)


@pytest.fixture
def without(monkeypatch):
    """Hides packages, as if they were not installed."""

    def hide(*names):
        find = importlib.util.find_spec
        hidden = {"find_spec": lambda name: None if name in names else find(name)}
        monkeypatch.setattr(rivals.importlib, "util", SimpleNamespace(**hidden))

    return hide


@pytest.fixture
def clock(monkeypatch):
    """Virtual seconds, which sleeping and `clock.sleep` advance."""
    passed = [0.0]

    def sleep(seconds):
        passed[0] += seconds

    virtual = SimpleNamespace(perf_counter=lambda: passed[0], sleep=sleep)
    monkeypatch.setattr(training, "time", virtual)
    return virtual


def _has(package):
    return importlib.util.find_spec(package) is not None


def test_available_names_what_can_be_imported(without):
    expected = {
        "torch_local": _has("torch"),
        "torch_ddp": _has("torch"),
        "decent_dp": _has("torch") and _has("decent_dp"),
        "jax_distributed": True,
    }
    assert rivals.available() == tuple(name for name in expected if expected[name])
    without("torch", "decent_dp")
    assert rivals.available() == ("jax_distributed",)


def test_a_missing_package_is_one_sentence(without):
    without("torch", "decent_dp")
    with pytest.raises(ExperimentError, match=r"^method 'decent_dp' needs .* found no torch and"):
        rivals.measure("decent_dp", seconds=1.0, straggler=False)


@pytest.mark.parametrize(
    ("method", "workers", "sentence"),
    [
        ("torch_dpp", 4, "^method must be one of torch_local, .* got 'torch_dpp'"),
        ("jax_distributed", 1, "^workers must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(method, workers, sentence):
    with pytest.raises(ExperimentError, match=sentence):
        rivals.measure(method, seconds=1.0, straggler=False, workers=workers)


def test_decent_dp_refuses_three_workers(monkeypatch):
    monkeypatch.setitem(rivals.RIVALS, "decent_dp", rivals.Rival("decent_dp", ()))
    with pytest.raises(ExperimentError, match="needs a power of two workers, got 3"):
        rivals.measure("decent_dp", seconds=1.0, straggler=False, workers=3)


def test_a_worker_that_fails_is_one_sentence(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "nonsense")
    with pytest.raises(ExperimentError, match=r"^jax_distributed .* worker [01] .* 'nonsense'"):
        rivals.measure("jax_distributed", seconds=1.0, straggler=False, workers=2)
    assert not _processes("1.0")


def test_a_run_without_end_leaves_no_process(monkeypatch):
    monkeypatch.setattr(rivals, "_START_SECONDS", -2 * 1.03125)
    with pytest.raises(ExperimentError, match=r"^jax_distributed .* must end within 1 s"):
        rivals.measure("jax_distributed", seconds=1.03125, straggler=False, workers=2)
    assert not _processes("1.03125")


def _processes(seconds):
    """Command lines of the workers of a run; none where the system does not tell."""
    lines = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has just ended
            continue
        if "experiments.throughput.rivals.jax_distributed" in words and seconds in words:
            lines.append(words)
    return lines


def test_arguments_of_a_worker_are_read_back():
    assert Task.from_arguments(TASK.arguments()) == TASK


def test_workers_share_the_training_images():
    images, labels = training_digits()
    assert images.shape == (1437, 8, 8, 1)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0.0, 1.0)
    for rank in range(4):
        own = {each.tobytes() for each in images[rank::4]}
        for batch, classes in islice(digit_batches(rank, 4), 12):  # over an epoch's end
            assert batch.shape == (32, 8, 8, 1)
            assert classes.shape == (32,)
            assert {each.tobytes() for each in batch} <= own
    assert set(labels.tolist()) == set(range(10))


@pytest.mark.parametrize("is_synchronous", [False, True])
def test_the_clock_counts_own_samples_over_own_seconds(clock, capsys, is_synchronous):
    team = training.Team(lambda samples: clock.sleep(0.0125), lambda number: number, is_synchronous)
    training.report(TASK, team)
    printed = json.loads(capsys.readouterr().out)
    assert printed["steps"] == 96  # of 0.05 + 0.0125 s each, in 6 s
    assert printed["samples_per_second"] == pytest.approx(32 / 0.0625)


@pytest.mark.slow
def test_the_network_is_the_same_in_pytorch():
    torch = pytest.importorskip("torch")
    from experiments.throughput.rivals.torch_network import TorchNetwork

    model, network = conv((8, 8, 1), 10), TorchNetwork(seed=0)
    segment = model.segment(0, len(model))
    params, statistics = segment.init()
    own = dict(network.named_parameters())
    assert sum(each.numel() for each in own.values()) == sum(map(np.size, jax.tree.leaves(params)))
    for name, value in _as_torch(params).items():
        own[name].data = torch.from_numpy(np.array(value))
    images = np.random.default_rng(0).random((32, 8, 8, 1), np.float32)
    ours, after = segment.apply(params, statistics, images, training=True)
    theirs = network(torch.from_numpy(images).permute(0, 3, 1, 2)).detach().numpy()
    np.testing.assert_allclose(theirs, ours, atol=1e-5)  # sums of 576 float32 in other orders
    mean = dict(network.named_buffers())["blocks.4.1.running_mean"]
    np.testing.assert_allclose(mean, after[4]["norm"]["mean"], atol=1e-5)  # likewise


def _as_torch(params):
    """Our parameters by the names, and in the layouts, of PyTorch."""
    *blocks, classifier = params
    named = {
        "linear.weight": classifier["linear"]["kernel"].T,
        "linear.bias": classifier["linear"]["bias"],
    }
    for index, block in enumerate(blocks):
        kernel = block["conv"]["kernel"].transpose(3, 2, 0, 1)  # from height, width, in, out
        named[f"blocks.{index}.0.weight"] = kernel
        named[f"blocks.{index}.1.weight"] = block["norm"]["scale"]
        named[f"blocks.{index}.1.bias"] = block["norm"]["bias"]
    return named


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("straggler", [False, True])
@pytest.mark.parametrize("method", rivals.RIVALS)
def test_two_workers_for_real(method, straggler):
    for package in rivals.RIVALS[method].packages:
        pytest.importorskip(package.replace("-", "_"))
    assert rivals.measure(method, seconds=1.0, straggler=straggler, workers=2) > 0
