"""A job's file as `finetune estimate` reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune_operator.cli import sized
from finetune_operator.cli.manifest import ManifestInvalid

TELECHAT = Path(__file__).parents[4] / "examples" / "telechat3-36b.yaml"


def test_resources_say_on_what(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(TELECHAT.read_text().replace("# gpuMemory: 80Gi", "gpuMemory: 80Gi"))
    cfg, on = sized.read(str(file))
    assert (on.nodes, on.processes, on.ranks, on.gpu) == (4, 8, 32, True)
    assert on.memory == 80 << 30
    assert cfg.data.cutoff_len == 8192


def test_a_job_without_gpus_trains_on_the_cpu(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(TELECHAT.read_text().replace("gpusPerNode: 8", "gpusPerNode: 0"))
    _, on = sized.read(str(file))
    assert (on.processes, on.gpu) == (1, False)


def test_a_wrong_key_is_told_at_its_line(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(TELECHAT.read_text().replace("cutoff_len", "cutof_len"))
    with pytest.raises(ManifestInvalid, match=r"job\.yaml:\d+: spec\.training\.cutof_len"):
        sized.read(str(file))
