"""`finetune export --in-job`: what the operator's export pod runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.tiny_model import make_tiny_model
from tests.unit.finetune_trainer.export.adapted import adapter, answers

from finetune_trainer import config, export, records
from finetune_trainer.cli import main
from finetune_trainer.export.in_job import keys
from finetune_trainer.records import EXIT_LASTING, Completion, Exported, RunSpec

TRAIN = {
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "template": "llama3",
    "dataset": "words",
    "cutoff_len": 128,
    "deepspeed": "zero3",
    "flash_attn": "fa2",
    "quantization_bit": 4,
}
FINISHED = "2026-01-01T00:00:00+00:00"


class Pod:
    """An export's pod on this machine, after a training."""

    def __init__(self, root: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.output = root, root / "output"
        self.trained = adapter(tiny, self.output)
        (root / "config").mkdir()
        said = {**TRAIN, "model_name_or_path": str(tiny), "output_dir": str(self.output)}
        (root / "config" / records.TRAIN_FILE).write_text(yaml.safe_dump(said), encoding="utf-8")
        run = RunSpec(
            contract=records.CONTRACT_VERSION, namespace="team", job="demo", uid="1", spec_hash="hash", nodes=1,
            processes_per_node=1, launcher="torchrun", output_dir=str(self.output), overwrite_output_dir=False,
            hang_timeout_seconds=60, grace_seconds=60, gpus_per_node=0,
        )  # fmt: skip
        (root / "config" / records.RUN_FILE).write_text(run.to_json(), encoding="utf-8")
        self.complete()
        monkeypatch.setenv(records.ENV_CONFIG_DIR, str(root / "config"))
        monkeypatch.setenv(records.ENV_TERMINATION_LOG, str(root / "message"))

    @property
    def merged(self) -> Path:
        return self.output / records.EXPORT_DIR

    def complete(self, *, spec_hash: str = "hash", finished: str = FINISHED) -> None:
        """The training has ended."""
        (self.output / records.STATE_DIR).mkdir(exist_ok=True)
        done = Completion(spec_hash=spec_hash, attempt=1, step=9, train_loss=1.0, finished=finished)
        (self.output / records.STATE_DIR / records.COMPLETION_FILE).write_text(done.to_json(), encoding="utf-8")

    def run(self) -> tuple[int, Exported]:
        """Exit code, and what it left."""
        code = main(["export", "--in-job"])
        return code, Exported.from_json((self.root / "message").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("exported"))


@pytest.fixture
def pod(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Pod:
    return Pod(tmp_path, tiny, monkeypatch)


def test_the_merged_model_answers_as_the_trained_one(pod: Pod) -> None:
    code, found = pod.run()
    assert (code, found.result, found.folder) == (0, "succeeded", str(pod.merged)), found.message
    assert (answers(pod.merged) - answers(pod.trained)).abs().max() < 1e-5
    assert json.loads((pod.merged / "config.json").read_text())["architectures"]
    assert not [*pod.output.glob("*.draft")]


def test_it_is_done_once_for_a_training_and_anew_for_the_next(pod: Pod) -> None:
    pod.run()
    kept = (pod.merged / "model.safetensors").stat().st_mtime_ns
    assert pod.run()[0] == 0
    assert (pod.merged / "model.safetensors").stat().st_mtime_ns == kept
    (pod.merged / "stale").touch()
    pod.complete(finished="2026-02-02T00:00:00+00:00")
    assert pod.run()[0] == 0
    assert not (pod.merged / "stale").exists()


def test_one_that_was_killed_in_the_middle_leaves_no_model(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise SystemExit(143)

    with monkeypatch.context() as patched:
        patched.setattr(export.model.files, "save", killed)
        with pytest.raises(SystemExit):
            pod.run()
    assert not pod.merged.exists()
    assert pod.run()[0] == 0


@pytest.mark.parametrize("other", ["no training", "another job's"])
def test_what_this_job_has_not_trained_is_not_exported(pod: Pod, other: str) -> None:
    pod.complete(spec_hash="other")
    if other == "no training":
        (pod.output / records.STATE_DIR / records.COMPLETION_FILE).unlink()
    code, found = pod.run()
    said = "no completed training" if other == "no training" else "the training of another job"
    assert (code, found.result, found.retryable) == (EXIT_LASTING, "failed", False)
    assert said in found.message
    assert not pod.merged.exists()


def test_an_adapter_that_is_not_there_is_told(pod: Pod) -> None:
    (pod.output / "adapter_config.json").unlink()
    code, found = pod.run()
    assert (code, found.reason) == (EXIT_LASTING, "ModelNotFound")
    assert "there is no adapter in" in found.message


@pytest.mark.parametrize(
    ("said", "below"),
    [
        ({}, []),
        ({"adapter_name_or_path": "one"}, []),
        ({"adapter_name_or_path": "one,two"}, ["one"]),
        ({"adapter_name_or_path": "one,two", "create_new_adapter": True}, ["one", "two"]),
    ],
)
def test_adapters_below_the_trained_one_go_along(said: dict[str, Any], below: list[str]) -> None:
    train = {key: value for key, value in TRAIN.items() if key not in {"quantization_bit", "deepspeed"}}
    cfg = config.parse({**train, "model_name_or_path": "m", "output_dir": "o", **said})
    found = keys(cfg, Path("/o"), Path("/o/merged"))
    assert found["adapter_name_or_path"] == [*below, "/o"]
    assert not {"flash_attn", "dataset", "output_dir", "finetuning_type"} & found.keys()
