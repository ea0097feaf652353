"""Peaks of devices by name, of cores by measurement; what workers share counts once."""

import jax
import pytest

from layup_jax import hardware
from layup_jax.hardware import Hardware, core_peak, occupied_flops_per_second, own_hardware
from layup_jax.host import allowed_cores
from layup_jax.peaks import accelerator_peak


@pytest.mark.parametrize(
    ("kind", "bfloat16", "float32"),
    [
        ("NVIDIA A100-SXM4-40GB", 312e12, 156e12),
        ("NVIDIA A100 80GB PCIe", 312e12, 156e12),
        ("NVIDIA H100 80GB HBM3", 989e12, 494.5e12),
        ("NVIDIA H100 PCIe", 756e12, 378e12),
        ("NVIDIA H200", 989e12, 494.5e12),
        ("NVIDIA H200 NVL", 835e12, 417.5e12),
        ("Tesla V100-SXM2-16GB", None, 15.7e12),
        ("Tesla T4", None, 8.1e12),
        ("NVIDIA L4", 121e12, 60e12),
        ("NVIDIA A10", 125e12, 62.5e12),
        ("NVIDIA A10G", 70e12, 35e12),
        ("TPU v2", 23e12, 23e12),
        ("TPU v4", 275e12, 275e12),
        ("TPU v5 lite", 197e12, 197e12),
        ("TPU v5", 459e12, 459e12),
        ("TPU v6 lite", 918e12, 918e12),
    ],
)
def test_a_device_is_known_by_its_whole_name(kind, bfloat16, float32):
    assert accelerator_peak(kind, "bfloat16") == bfloat16
    assert accelerator_peak(kind, "float32") == float32


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "cpu",
        "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
        "NVIDIA GH200 120GB MIG 1g.12gb",
        "NVIDIA A1000",
        "NVIDIA H20",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "TPU v99",
    ],
)
def test_what_is_not_in_the_table_is_not_known(kind):
    assert accelerator_peak(kind, "float32") is None


def test_what_workers_share_counts_once():
    first, second, both = (Hardware(units, 3.0) for units in (("a",), ("b",), ("a", "b")))
    assert occupied_flops_per_second([first, second, first, second]) == 6
    assert occupied_flops_per_second([both, first]) == 6
    assert occupied_flops_per_second([first, Hardware(("b",), None)]) is None


def test_cores_are_measured_and_told_apart():
    mine = own_hardware(jax.local_devices(), "float32")
    assert len(set(mine.units)) == len(allowed_cores())
    assert mine == own_hardware(jax.local_devices()[:1], "float32")  # measured once
    assert mine.unit_flops_per_second == core_peak("float32") > 1e8


class _Device:
    platform = "gpu"
    device_kind = "NVIDIA A100-SXM4-40GB"

    def __init__(self, local_hardware_id):
        self.local_hardware_id = local_hardware_id


def test_devices_have_the_names_that_the_machine_gives_them(monkeypatch):
    both = [_Device(0), _Device(1)]
    monkeypatch.setattr(hardware, "_machine", lambda: "machine")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    monkeypatch.delenv("SLURM_GPUS_PER_TASK", raising=False)
    assert own_hardware(both, "bfloat16") == Hardware(
        ("machine/device 6", "machine/device 7"), 312e12
    )
    assert own_hardware(both[:1], "bfloat16").units == ("machine/device 6",)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert own_hardware(both[1:], "float32") == Hardware(("machine/device 1",), 156e12)
    monkeypatch.setenv("SLURM_GPUS_PER_TASK", "1")
    units = set()
    for task in ("0", "1"):
        monkeypatch.setenv("SLURM_PROCID", task)
        units |= {*own_hardware(both[:1], "float32").units}
    assert len(units) == 2
