"""`make gitops`: the tables of docs/gitops.md from what tests/cluster/test_gitops.py found.

    python -m dev.gitops_table          ask the libraries and a real API server, and write the tables
    python -m dev.gitops_table --write  write the tables from the results that are there

The test leaves libraries.json and kubectl.json in the folder that FINETUNE_GITOPS_RESULTS names; docs/gitops.json
keeps them, with a hash of what was asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from dev.environment import ROOT
from dev.faults_table import short

VARIABLE = "FINETUNE_GITOPS_RESULTS"
PAGE = ROOT / "docs" / "gitops.md"
KEPT = ROOT / "docs" / "gitops.json"
STATES = ROOT / "tests" / "golden" / "states"
THINGS = ROOT / "deploy" / "gitops"
MODULE = ROOT / "tests" / "cluster" / "binaries" / "health" / "go.mod"
TEST = "tests/cluster/test_gitops.py"
PARTS = ("libraries", "kubectl")
BEGIN, END = "<!-- made by `make gitops` -->\n", "<!-- end -->\n"
LONGEST = 160
"""Characters of a message that are shown."""

Results = Mapping[str, Any]


def page(text: str, results: Results) -> str:
    """A page with its tables made anew, between the markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tools(results)}\n{conditions(results)}{END}{after}"


def tools(results: Results) -> str:
    """What kstatus, Flux and Argo CD say: a row for each state, in the order of a job's life."""
    head = (
        "| state | `status.state` | kstatus | Flux | Flux, until trained | Argo CD | Argo CD, until trained |"
        " what Argo CD shows |\n|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(_tools(results, state) for state in results["states"])


def _tools(results: Results, state: str) -> str:
    said = results["libraries"][state]
    argo = said["argo"]
    cells = (
        results["states"][state],
        _recorded(state)["status"].get("state", ""),
        said["kstatus"]["status"],
        said["flux"]["ready"]["status"],
        said["flux"]["trained"]["status"],
        argo["ready"]["status"],
        argo["trained"]["status"],
        short(argo["ready"]["message"], LONGEST),
    )
    return _row(cells)


def conditions(results: Results) -> str:
    """Every condition in every state, and for which of them `kubectl wait` is over at once."""
    waits = list(results["kubectl"])
    head = f"{_row(('state', *(f'`{wait}`' for wait in waits)))}|{'---|' * (len(waits) + 1)}\n"
    return head + "".join(
        _row((results["states"][state], *(_wait(results, state, wait) for wait in waits)))
        for state in results["states"]
    )


def _wait(results: Results, state: str, wait: str) -> str:
    """`over`, or what the condition says meanwhile."""
    if state in results["kubectl"][wait]:
        return "**over**"
    found = [one for one in _recorded(state)["status"].get("conditions", ()) if one["type"] == wait]
    return str(found[0]["status"]) if found else ""


def asked() -> str:
    """A hash of all that the results depend on: objects, scripts, expressions, versions of the libraries."""
    files = [*sorted(STATES.glob("*.yaml")), *sorted(THINGS.iterdir()), MODULE]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _recorded(state: str) -> dict[str, Any]:
    body: dict[str, Any] = yaml.safe_load((STATES / f"{state}.yaml").read_text(encoding="utf-8"))
    return body


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _ask() -> int:
    """Run the test, and keep what it found."""
    from tests.stories.states import sentences

    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "pytest", "-m", "cluster", TEST]
        code = subprocess.run(argv, cwd=ROOT, env={**os.environ, VARIABLE: folder}, check=False).returncode
        if code:
            return code
        parts = {part: json.loads(Path(folder, f"{part}.json").read_text(encoding="utf-8")) for part in PARTS}
    results = {"asked": asked(), "states": sentences(), **parts}
    KEPT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def main() -> int:
    """Ask unless told not to, and write the tables."""
    code = 0 if "--write" in sys.argv else _ask()
    if code == 0:
        results = json.loads(KEPT.read_text(encoding="utf-8"))
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
        print(f"{PAGE.relative_to(ROOT)}: {len(results['states'])} states, {len(results['kubectl'])} waits")
    return code


if __name__ == "__main__":
    sys.exit(main())
