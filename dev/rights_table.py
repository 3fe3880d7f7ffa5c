"""`make rights`: the table of docs/security.md from what `kubectl auth can-i` said in tests/cluster/test_rights.py.

    python -m dev.rights_table          ask on the test cluster, and write the page
    python -m dev.rights_table --write  write the page from the answers that are there

A test leaves the answers of each mode in runs/rights, or in the folder that FINETUNE_RIGHTS_RESULTS names; they are
kept in docs/rights.json: mode -> `verb resource` -> where -> yes or no.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dev.environment import ROOT

VARIABLE = "FINETUNE_RIGHTS_RESULTS"
PAGE = ROOT / "docs" / "security.md"
KEPT = ROOT / "docs" / "rights.json"
BEGIN, END = "<!-- rights: begin (make rights) -->\n", "<!-- rights: end -->\n"
HEAD = """| resource | serving all: may | serving named ones: may in these | elsewhere | asked for, and never allowed |
|---|---|---|---|---|
"""

Answers = Mapping[str, Mapping[str, bool]]
"""`verb resource` -> where (served, other, cluster) -> whether it may."""


def page(text: str, answers: Mapping[str, Answers]) -> str:
    """The page with the table between its marks."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}{table(answers)}{END}{after}"


def table(answers: Mapping[str, Answers]) -> str:
    """A row for each resource, in the order in which they were asked for."""
    resources = dict.fromkeys(question.split()[1] for question in answers["cluster"])
    return HEAD + "".join(_row(resource, answers) for resource in resources)


def _row(resource: str, answers: Mapping[str, Answers]) -> str:
    everywhere = _verbs(resource, answers["cluster"], ("served", "other", "cluster"))
    here = _verbs(resource, answers["namespaced"], ("served", "cluster"))
    elsewhere = _verbs(resource, answers["namespaced"], ("other",))
    asked = [question.split()[0] for question in answers["cluster"] if question.split()[1] == resource]
    never = [verb for verb in asked if verb not in {*everywhere, *here, *elsewhere}]
    cells = (", ".join(verbs) or "-" for verbs in (everywhere, here, elsewhere, never))
    return f"| `{resource}` | {' | '.join(cells)} |\n"


def _verbs(resource: str, answers: Answers, places: tuple[str, ...]) -> list[str]:
    """What may be done with it in any of these places."""
    return [
        question.split()[0]
        for question, where in answers.items()
        if question.split()[1] == resource and any(where.get(place) for place in places)
    ]


def main() -> int:
    """Ask unless told not to, and write the page."""
    folder = Path(os.environ.get(VARIABLE) or ROOT / "runs" / "rights")
    code = 0
    if "--write" not in sys.argv:
        argv = [sys.executable, "-m", "pytest", "-m", "cluster", "-k", "kubectl_says", "tests/cluster/test_rights.py"]
        code = subprocess.run(argv, cwd=ROOT, env={**os.environ, VARIABLE: str(folder)}, check=False).returncode
    known = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    known |= {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))}
    KEPT.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), known), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {sum(map(len, known.values()))} answers")
    return code


if __name__ == "__main__":
    sys.exit(main())
