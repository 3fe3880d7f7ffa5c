"""How much a rank may still fill: the machine's memory, a pod's limit, or less."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from finetune_trainer import memory

CPU = torch.device("cpu")


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod of 100 MB, of which 60 are used, 10 of these by files that are merely cached."""
    (tmp_path / "memory.max").write_text("100000000\n")
    (tmp_path / "memory.current").write_text("60000000\n")
    (tmp_path / "memory.stat").write_text("anon 50000000\ninactive_file 10000000\nactive_file 0\n")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    return tmp_path


def test_a_pods_limit_counts(group: Path) -> None:
    assert memory.free(CPU, sharers=1) == 50_000_000
    assert memory.free(CPU, sharers=2) == 25_000_000


def test_without_a_limit_it_is_what_the_machine_has(group: Path) -> None:
    (group / "memory.max").write_text("max\n")
    free = memory.free(CPU, sharers=1)
    assert free is not None
    assert 0.5 < free / psutil.virtual_memory().available < 2


def test_a_device_that_does_not_say() -> None:
    assert memory.free(torch.device("meta"), sharers=1) is None


def test_a_process_without_a_gpu_tells_what_was_resident() -> None:
    before = memory.used()
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    after = memory.used()
    assert after.peak >= psutil.Process().memory_info().rss * 0.9
    assert (after.peak >= before.peak, after.allocated, after.total) == (True, None, None)


def test_a_cpu_has_no_gpus_name() -> None:
    assert memory.gpu(CPU) is None
