"""What is freed stays with the process: the next tensor of that size costs no new pages."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from finetune_trainer import allocator

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

kept = allocator.keep_freed() if sys.argv[1] == "keep" else None
def make(tensors):
    for _ in range(tensors):
        torch.ones(10_000_000)

make(30)
before = faults()
make(10)
print(kept, faults() - before)
"""
PAGES = 10 * 10_000_000 * 4 // 4096


def measure(how: str) -> tuple[str, int]:
    """What the call said, and the page faults of ten tensors of 40 MB, one after the other, after thirty others."""
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's switches")
def test_a_tensor_takes_the_place_of_the_last_one() -> None:
    kept, faults = measure("keep")
    assert kept == "True"
    assert faults < PAGES / 20
    assert measure("leave")[1] > PAGES / 2
