"""A golden case: an example, and the folder of the files that are rendered from it."""

from __future__ import annotations

from pathlib import Path

from finetune_operator import render, spec
from finetune_operator.cli.render import manifests
from finetune_operator.settings import Settings
from finetune_trainer.config import load_yaml

HERE = Path(__file__).parent
EXAMPLES = sorted([*(HERE.parent.parent / "examples").glob("*.yaml"), *(HERE / "manifests").glob("*.yaml")])
"""And what needs settings that not every operator has."""
UID = "6b0f2c1e-5d3a-4c55-9a43-0f1d0b7e8a11"


def children(example: Path) -> tuple[render.Manifest, ...]:
    """What the operator would apply for attempt 1, in a namespace and with the uid that the API server would give."""
    body = load_yaml(example.read_text(encoding="utf-8"))
    body["metadata"] |= {"namespace": "team-a", "uid": UID, "generation": 1}
    settings = Settings.from_environment({"FINETUNE_OPERATOR_FILE": str(HERE / "settings.yaml")})
    job = spec.parse(body)
    return manifests(job, 1, settings)


def rendered(example: Path) -> dict[str, str]:
    """File name -> text: all manifests, and once more each file of the ConfigMaps, to be read."""
    manifests = children(example)
    files = {"children.yaml": render.documents(manifests)}
    for manifest in manifests:
        files |= manifest["data"] if manifest["kind"] == "ConfigMap" else {}
    return files
