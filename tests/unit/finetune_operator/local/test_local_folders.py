"""Claims and ConfigMaps as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetune_operator import plan, render
from finetune_operator.local import Folders
from finetune_operator.settings import Settings


def planned(make_job: Any, folders: Folders, **said: Any) -> plan.RunPlan:
    return plan.run_plan(make_job(**said), 1, Settings(), paths=folders.paths)


def test_the_trainer_finds_claims_at_the_paths_that_it_is_told(machine: Any, make_job: Any) -> None:
    folders = machine.folders()
    (machine.workdir / "claims" / "data" / "rows.json").write_text("[]")
    run = planned(make_job, folders)
    folders.mount(run.mounts)
    assert Path(run.dataset_info["rows"]["file_name"]).read_text() == "[]"


def test_a_claim_may_lie_elsewhere(machine: Any, make_job: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "rows.json").write_text("[1]")
    folders = machine.folders(data=elsewhere)
    run = planned(make_job, folders)
    folders.mount(run.mounts)
    assert Path(run.dataset_info["rows"]["file_name"]).read_text() == "[1]"


def test_sub_path_is_a_folder_of_the_claim(machine: Any, make_job: Any) -> None:
    folders = machine.folders()
    run = planned(make_job, folders, storage={"output": {"claimName": "runs", "subPath": "team"}})
    folders.mount(run.mounts)
    (Path(folders.paths.output) / "here").touch()
    assert (machine.workdir / "claims" / "runs" / "team" / "here").exists()


def test_mounting_twice_is_mounting_once(machine: Any, make_job: Any) -> None:
    folders = machine.folders()
    run = planned(make_job, folders)
    folders.mount(run.mounts)
    folders.mount(run.mounts)
    assert all(Path(mount.path).is_symlink() for mount in run.mounts)


def test_both_configmaps_are_one_folder(machine: Any, make_job: Any) -> None:
    folders = machine.folders()
    run = planned(make_job, folders)
    folders.write(render.children(run))
    found = {path.name for path in Path(folders.paths.config).iterdir()}
    assert found == {"train.yaml", "run.json", "dataset_info.json", "hostfile"}


def test_clearing_leaves_the_claims(machine: Any, make_job: Any) -> None:
    folders = machine.folders()
    run = planned(make_job, folders)
    folders.mount(run.mounts)
    kept = machine.workdir / "claims" / "runs" / "kept"
    kept.touch()
    folders.clear()
    assert kept.exists()
    assert list(folders.root.iterdir()) == []
