"""docs/refusals.md from what a real API server says of manifests with one mistake each.

python -m dev.refusals_table          ask it again, on a control plane without nodes, and write the page
python -m dev.refusals_table --write  write the page from docs/refusals.json
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from dev.environment import ROOT
from tests.cluster import refusals, session
from tests.cluster.harness import cluster, layout
from tests.cluster.operator_process import OperatorProcess

PAGE = ROOT / "docs" / "refusals.md"
KEPT = ROOT / "docs" / "refusals.json"
HEAD = """# Refusals

What `kubectl apply` says of a manifest with one mistake, quoted. **Alone**: the API server with our definition, its
schema and its CEL rules; what they can't see is taken, and the operator says it a moment later in the conditions
`Accepted` and `Ready`. **With the webhook** (`admission.enabled` in the chart; docs/install.md) the operator's whole
answer comes at once, every mistake of the manifest with its path. What the schema refuses never reaches the webhook,
so that its words are the same in both.

Made by `make refusals`; `tests/cluster/test_refusals.py` holds it to what is said today. The manifest
around the mistake:

```yaml
{good}```
"""


def page(answers: Sequence[Mapping[str, Any]]) -> str:
    """The whole page: a section for each mistake."""
    good = yaml.safe_dump(dict(refusals.GOOD), sort_keys=False, default_flow_style=None, width=120)
    return HEAD.replace("{good}", good) + "".join(_section(number, one) for number, one in enumerate(answers, 1))


def _section(number: int, answer: Mapping[str, Any]) -> str:
    lines = [f"{path}: {_value(value)}" for path, value in answer["changes"].items()]
    parts = [f"\n## {number}. {answer['title']}\n", _block(lines)]
    if answer["without"] == answer["with"]:
        return "\n".join([*parts, "Alone and with the webhook:\n", _block(answer["with"].splitlines())])
    said = (("Alone", answer["without"]), ("With the webhook", answer["with"]))
    return "\n".join([*parts, *(f"{who}:\n\n{_block(words.splitlines())}" for who, words in said)])


def _value(value: object) -> str:
    if value is None:
        return "(left out)"
    return (
        yaml.safe_dump(value, default_flow_style=True, width=math.inf, sort_keys=False)
        .removesuffix("\n")
        .removesuffix("\n...")
    )


def _block(lines: Sequence[str]) -> str:
    return "\n".join(["```", *lines, "```", ""])


def _ask() -> list[dict[str, Any]]:
    place = layout.default()
    cluster.up(place, nodes=0, kept=True, say=print)
    real = session.of_harness(place)
    with tempfile.TemporaryDirectory() as folder:
        operator = OperatorProcess(real, Path(folder))
        try:
            real.kubectl("create", "namespace", "refusals")
            real.share("refusals")
            return refusals.answers(real, operator, "refusals")
        finally:
            operator.stop()
            cluster.down(place, print)


def main() -> int:
    """Ask unless told not to, and write."""
    if "--write" not in sys.argv:
        KEPT.write_text(json.dumps(_ask(), indent=1) + "\n", encoding="utf-8")
    answers = json.loads(KEPT.read_text(encoding="utf-8"))
    PAGE.write_text(page(answers), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(answers)} mistakes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
