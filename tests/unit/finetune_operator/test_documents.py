"""Every manifest that a document shows is accepted as it stands, and every command it names exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_operator import checks, spec
from finetune_operator.observe import Observed, ObservedClaim
from finetune_operator.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def manifests() -> list[Any]:
    """The FineTuneJobs in the documents' YAML blocks."""
    blocks = [
        pytest.param(yaml.safe_load(block), id=f"{document.name}-{number}")
        for document in DOCUMENTS
        for number, block in enumerate(
            re.findall(r"```yaml\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
        )
        if re.search(r"^kind: FineTuneJob$", block, re.MULTILINE)
    ]
    assert blocks, "the README shows a manifest"
    return blocks


@pytest.mark.parametrize("manifest", manifests())
def test_a_manifest_in_a_document_is_accepted(manifest: dict[str, Any]) -> None:
    job = spec.parse(manifest)
    shared = {
        name: ObservedClaim(name=name, found=True, access_modes=("ReadWriteMany",)) for name in spec.claims(job.spec)
    }
    assert checks.check(job, Observed(claims=shared), Settings()) == ()


def test_every_make_target_that_a_document_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", document.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named
    assert named <= targets


def test_every_test_that_the_security_page_names_is_there() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    known = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
    named = re.findall(r"(?:[\w/]+/)?(test_\w+\.py)(?:: (test_\w+))?", text)
    assert len(named) > 10
    for file, test in named:
        assert file in known, file
        assert f"def {test}" in known[file].read_text(encoding="utf-8"), test
