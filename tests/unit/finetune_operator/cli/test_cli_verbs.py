"""The verbs, as a person calls them."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
import yaml

from finetune_operator.cli import verbs
from finetune_operator.cli.manifest import ManifestInvalid

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
QUICKSTART = ROOT / "examples" / "quickstart.yaml"


def call(verb: str, *arguments: str) -> int:
    parser = ArgumentParser()
    verbs()[verb].configure(parser)
    return verbs()[verb].run(parser.parse_args(arguments))


def test_every_example_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    examples = sorted(str(path) for path in (ROOT / "examples").glob("*.yaml"))
    assert call("validate", *examples) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("  note: ")]
    assert told == [f"{example}: OK" for example in examples]


def test_every_fault_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.yaml"
    text = QUICKSTART.read_text().replace("learning_rate: ", "learning_rat: ").replace("_len: 128", "_len: none")
    file.write_text(text)
    assert call("validate", str(file)) == 1
    told = capsys.readouterr().err.splitlines()
    rate, cutoff = (1 + text[: text.index(key)].count("\n") for key in ("learning_rat:", "cutoff_len:"))
    assert len(told) == 2
    assert any(line.startswith(f"{file}:{rate}: spec.training.learning_rat: ") for line in told)
    assert any(line.startswith(f"{file}:{cutoff}: spec.training.cutoff_len: ") for line in told)


def test_what_the_operator_refuses_at_its_door_is_refused_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(QUICKSTART.read_text().replace("template: smollm2", "template: smollm3000"))
    assert call("validate", str(file)) == 1
    assert "spec.training.template: " in capsys.readouterr().err


def test_a_key_that_gives_way_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("validate", str(ROOT / "examples" / "telechat3-36b.yaml")) == 0
    told = capsys.readouterr().out
    assert "  note: training.model_name_or_path ./telechat3_36B gives way to spec.model.uri" in told
    assert "  note: the settings of the network profile roce may be changed by its owner" in told


def test_a_gang_is_taken_where_nobody_knows_the_owners_scheduler(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = str(ROOT / "tests" / "golden" / "manifests" / "gang.yaml")
    assert call("validate", manifest) == 0
    monkeypatch.setenv("FINETUNE_OPERATOR_GANG_SCHEDULER", "scheduler-plugins")
    assert call("validate", manifest) == 1
    assert "spec.scheduling.gang.queue: is Volcano's" in capsys.readouterr().err


def test_a_profile_of_the_owners_is_not_known_without_the_owners_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text((ROOT / "examples" / "telechat3-36b.yaml").read_text().replace("profile: roce", "profile: blue"))
    assert call("validate", str(job)) == 0
    assert "the settings of the network profile blue are not known here" in capsys.readouterr().out
    values = tmp_path / "values.yaml"
    values.write_text("network_profiles: {green: {}}\n")
    monkeypatch.setenv("FINETUNE_OPERATOR_FILE", str(values))
    assert call("validate", str(job)) == 1
    assert "no network profile blue; known: efa, green, infiniband, roce, tcp" in capsys.readouterr().err


def test_one_bad_file_among_good_ones_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: Job\n")
    assert call("validate", str(bad), str(QUICKSTART)) == 1
    told = capsys.readouterr()
    assert f"{QUICKSTART}: OK" in told.out
    assert f"{bad}:1: kind" in told.err


OVERLAY = """\
  podTemplate:
    spec:
      containers:
      - name: pytorch
        volumeMounts:
        - name: x
"""


def test_an_overlay_that_can_not_be_merged_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(QUICKSTART.read_text() + OVERLAY)
    assert call("validate", str(file)) == 1
    line = len(file.read_text().splitlines())
    path = "spec.podTemplate.spec.containers[0].volumeMounts[0]"
    assert capsys.readouterr().err.startswith(f"{file}:{line}: {path}: ")


def test_render_prints_what_kubectl_can_apply(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("render", str(QUICKSTART), "--attempt", "2", "-n", "team-a") == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [one["kind"] for one in documents] == ["ConfigMap", "ConfigMap", "PyTorchJob"]
    assert documents[-1]["metadata"]["name"] == "quickstart-2"
    assert {one["metadata"]["namespace"] for one in documents} == {"team-a"}


def test_render_tells_what_auto_stands_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("render", str(ROOT / "examples" / "telechat3-36b.yaml")) == 0
    told = capsys.readouterr().err
    assert "auto in ds.json stands for train_micro_batch_size_per_gpu 2, gradient_accumulation_steps 2," in told
    assert "reduce_bucket_size, stage3_prefetch_bucket_size, stage3_param_persistence_threshold follow from" in told
    assert call("render", str(QUICKSTART)) == 0
    assert "ds.json" not in capsys.readouterr().err


def test_render_refuses_what_validate_refuses(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(QUICKSTART.read_text().replace("stage: sft", "stage: sfd"))
    with pytest.raises(ManifestInvalid, match=r"spec\.training\.stage"):
        call("render", str(file))


@pytest.mark.parametrize("claim", ["models", "=x", "models="])
def test_run_wants_claims_as_name_and_folder(claim: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call("run", str(QUICKSTART), "--claim", claim)
    assert "expected NAME=FOLDER" in capsys.readouterr().err


def test_the_verbs_need_neither_torch_nor_kopf() -> None:
    script = (
        "import sys; from finetune_operator.cli import verbs; verbs()\n"
        "print({'torch', 'transformers', 'kopf', 'kubernetes', 'psutil', 'rich'} & set(sys.modules))"
    )
    path = f"{ROOT / 'operator'}:{ROOT / 'trainer_image'}"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "set()"
