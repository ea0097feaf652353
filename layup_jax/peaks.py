"""Peak rates of accelerators: dense products of matrices, in the precision that XLA takes by default.

    accelerator_peak("NVIDIA A100-SXM4-80GB", "bfloat16")        # 312e12
    accelerator_peak("TPU v4", "float32")                        # 275e12: XLA multiplies in bfloat16
    accelerator_peak("NVIDIA A100-SXM4-40GB MIG 3g.20gb", ...)   # None: not in the table, so not known

float32 is TF32 on GPUs that have it, because that is what XLA's default precision uses. Figures "with
sparsity" are halved. One device of JAX is one core of TPU v2 and v3, which have two on a chip.

Sources, FLOP/s of each device:
  NVIDIA's data sheets of V100, T4, A100, A30, A40, A10, L4, L40, L40S, H100, H200, GH200 and DGX B200;
  white papers "NVIDIA Ampere GA102" (RTX 3090) and "NVIDIA Ada" (RTX 4090), with accumulation in float32.
  A10G: AWS, "Amazon EC2 G5 instances", whose data sheet by NVIDIA gives 70 TFLOP/s.
  TPU: Google Cloud, "TPU architecture", pages of v2, v3, v4, v5e, v5p and v6e: 46, 123, 275, 197, 459 and
  918 TFLOP/s of a chip.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TERA = 1e12


class Peak(NamedTuple):
    """TFLOP/s of one device; None where it has no such units."""

    bfloat16: float | None
    float32: float


_PEAKS = {  # whole names of `device_kind`, as regular expressions
    r"Tesla V100-(SXM2|SXM3)-.*": Peak(None, 15.7),
    r"Tesla V100-PCIE-.*": Peak(None, 14.0),
    r"Tesla T4": Peak(None, 8.1),
    r"NVIDIA A100[- ](SXM4|PCIE|PCIe|80GB PCIe).*": Peak(312.0, 156.0),
    r"NVIDIA A30": Peak(165.0, 82.0),
    r"NVIDIA A40": Peak(149.7, 74.8),
    r"NVIDIA A10": Peak(125.0, 62.5),
    r"NVIDIA A10G": Peak(70.0, 35.0),
    r"NVIDIA L4": Peak(121.0, 60.0),
    r"NVIDIA L40": Peak(181.0, 90.5),
    r"NVIDIA L40S": Peak(362.0, 183.0),
    r"NVIDIA GeForce RTX 3090": Peak(71.0, 35.6),
    r"NVIDIA GeForce RTX 4090": Peak(165.2, 82.6),
    r"NVIDIA H100 PCIe": Peak(756.0, 378.0),
    r"NVIDIA H100 NVL": Peak(835.0, 417.5),
    r"NVIDIA (H100 80GB HBM3|H200|GH200 .*)": Peak(989.0, 494.5),
    r"NVIDIA H200 NVL": Peak(835.0, 417.5),
    r"NVIDIA B200": Peak(2250.0, 1125.0),
    r"TPU v2": Peak(23.0, 23.0),
    r"TPU v3": Peak(61.5, 61.5),
    r"TPU v4": Peak(275.0, 275.0),
    r"TPU (v5 lite|v5e)": Peak(197.0, 197.0),
    r"TPU (v5|v5p)": Peak(459.0, 459.0),
    r"TPU (v6 lite|v6e)": Peak(918.0, 918.0),
}


def accelerator_peak(device_kind: str, dtype: str) -> float | None:
    """FLOP/s of one device.

    Args:
      device_kind: as JAX says it. A part of a GPU (MIG) has a kind of its own, and is not known.
      dtype: bfloat16 | float32, of what is multiplied.

    Returns:
      None for a device that is not in the table, and for bfloat16 where it would be emulated.
    """
    for pattern, peak in _PEAKS.items():
        if "MIG" not in device_kind and re.fullmatch(pattern, device_kind):
            found = getattr(peak, dtype)
            return None if found is None else found * _TERA
    return None
