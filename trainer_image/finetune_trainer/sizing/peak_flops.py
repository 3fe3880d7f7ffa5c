"""A GPU's name -> the operations a second that its maker promises, dense: the doubled figure is for sparse matrices.

Of NVIDIA's data sheets; half precision accumulates in float32, which halves a GeForce's figure. A GPU that is not
listed has none: a guess would make every utilisation wrong.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["bf16", "fp16", "tf32", "fp32"]

_TERA = 1e12
_HALF: tuple[tuple[str, float], ...] = (
    ("H100 NVL", 835.5),
    ("H100 PCIe", 756.5),
    ("H800 PCIe", 756.5),
    ("H200 NVL", 835.5),
    ("H100", 989.5),
    ("H800", 989.5),
    ("H200", 989.5),
    ("H20", 148.0),
    ("A100", 312.0),
    ("A800", 312.0),
    ("L40S", 362.0),
    ("L20", 119.5),
    ("L4", 121.0),
    ("A10", 125.0),
    ("A30", 165.0),
    ("A40", 149.7),
    ("RTX 4090", 165.2),
    ("RTX 3090", 71.0),
)
"""Part of the name that torch tells, the narrower one first -> TFLOP/s in bf16 and fp16 alike."""
_VOLTA: tuple[tuple[str, float], ...] = (("V100-PCIE", 112.0), ("V100", 125.0), ("T4", 65.0))
"""Without bf16 and TF32: it is computed without tensor cores there."""
_OTHERS = (" Ti ", " SUPER ", " Laptop ", " D ", " MIG ")


def peak(name: str, kind: Kind) -> float | None:
    """FLOP/s of one GPU; None: unknown, of this GPU or for these numbers.

    TF32 runs at half the rate of bf16 on all that are listed. Float32 without it has no tensor cores: not told.
    """
    if kind == "fp32":
        return None
    half = _find(name, _HALF)
    if half is not None:
        return half * _TERA / (2 if kind == "tf32" else 1)
    old = _find(name, _VOLTA) if kind == "fp16" else None
    return None if old is None else old * _TERA


def _find(name: str, known: tuple[tuple[str, float], ...]) -> float | None:
    words = f" {name.replace('Tesla ', '')} "
    return next((rate for part, rate in known if _is_word(part, words)), None)


def _is_word(part: str, words: str) -> bool:
    """A10 is not A100, and L4 not L40: nothing may go on with the word. `Ti`, `Laptop` and slices (MIG) are others."""
    _, found, after = words.partition(f" {part}")
    return bool(found) and after[0] in " -" and not any(other in after for other in _OTHERS)
