"""A job's file, and where its faults are."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune_operator.cli import manifest
from finetune_operator.cli.manifest import ManifestInvalid, line_of

TEXT = """\
apiVersion: finetune.dev/v1alpha1
kind: FineTuneJob
metadata:
  name: tuned
spec:
  datasets:
  - name: a
  - name: b
    uri: pvc://data/b.json
  resources:
    extra: {example.com/a.b: 1}
    nodes: 2
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("spec.datasets[1].uri", 9),
        ("spec.datasets[1].info", 8),
        ("spec.datasets[7].uri", 6),
        ("spec.resources.nodes", 12),
        ("spec.resources.extra.example.com/a.b", 11),
        ("spec.model", 5),
        ("metadata.name", 4),
        ("nothing", 1),
    ],
)
def test_a_fault_is_at_the_deepest_line_that_the_file_has(path: str, line: int) -> None:
    assert line_of(TEXT, path) == line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1", "job.yaml:2: expected ',' or ']'"),
        ("a: 1\n---\nb: 2\n", "job.yaml:2: a second document begins here; one file, one FineTuneJob"),
        ("kind: Job\n", "job.yaml:1: kind: expected FineTuneJob, got Job"),
        ("- 1\n", "job.yaml:1: kind: expected FineTuneJob, got list"),
        ("", "job.yaml:1: kind: expected FineTuneJob, got NoneType"),
    ],
)
def test_a_file_that_is_no_job(tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(text)
    with pytest.raises(ManifestInvalid) as caught:
        manifest.read("job.yaml")
    assert str(caught.value).startswith(message)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ManifestInvalid, match=r"^nowhere\.yaml: .*No such file"):
        manifest.read("nowhere.yaml")


def test_the_files_namespace_wins(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(TEXT)
    assert manifest.read(str(file), "team-a").body["metadata"]["namespace"] == "team-a"
    file.write_text(TEXT.replace("name: tuned", "name: tuned\n  namespace: team-b"))
    assert manifest.read(str(file), "team-a").body["metadata"]["namespace"] == "team-b"
