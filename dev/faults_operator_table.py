"""`make faults-operator`: docs/faults-operator.md from what tests/cluster/test_faults_operator.py measured.

    python -m dev.faults_operator_table          run every fault under every seed, and write the page
    python -m dev.faults_operator_table --write  write the page from the results that are there

As `dev.faults_table`: a JSON file for each fault and seed, taken into docs/faults-operator.json.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from dev.environment import ROOT
from dev.faults_table import remake, short, span

PAGE = ROOT / "docs" / "faults-operator.md"
KEPT = ROOT / "docs" / "faults-operator.json"
HEAD = """# Faults around the operator

What breaks on purpose between the operator and the API server, and around both. Made by `make faults-operator` from
what `tests/cluster/test_faults_operator.py` measured: a real control plane and training operator, a proxy between our
operator and the API server, and pods whose kubelet is played: a job of two nodes whose worker fails once after 1.5 s,
and whose second attempt succeeds. The moment at which it breaks is drawn from the seed.

After each, the test asserts that at most one attempt lived at any time, that the attempts are 1 and 2, each created
once, that no pod of attempt 1 was left when attempt 2 began, that status tells one counted failure and the success,
that no child without an owner or of attempt 1 is left, and that nothing is left once the job is deleted. Of a deleted
namespace: that no attempt was created twice, and that nothing is left.

Calls are requests of the operator to the API server a minute, its watches among them, for its one job: from the
fault's begin to its end, and at rest for 10 s after both have ended. The bounds that the test holds them to: 120 for
the two attempts, however fast they go, and 240 a minute of the fault, and 40 for each start of an operator that was
killed; 150 a minute at rest. The tests look at every job each 5 s (`resync_seconds`); an installation does so each
60 s, so that it makes a twelfth of the passes at rest. Seconds: from `kubectl apply` to `Succeeded`.

| fault | runs | seconds | calls a minute in the fault | at rest | told in status |
|---|---|---|---|---|---|
"""


def page(results: Sequence[dict[str, Any]]) -> str:
    """The whole page of what `merged` gives: a row for each fault."""
    faults = sorted({str(one["fault"]) for one in results})
    return HEAD + "".join(_row([one for one in results if one["fault"] == fault]) for fault in faults)


def _row(results: Sequence[dict[str, Any]]) -> str:
    """One fault under all its seeds: the smallest and the largest figure, and the first seed's words."""
    cells = (
        results[0]["fault"],
        str(len(results)),
        span([one["seconds"] for one in results if "seconds" in one]) or "-",
        span([one["calls"] for one in results]),
        span([one["rest"] for one in results]),
        short(str(results[0].get("told", ""))) or "-",
    )
    return f"| {' | '.join(cells)} |\n"


def main() -> int:
    """`remake` for the faults around the operator."""
    return remake(PAGE, page, ROOT / "runs" / "faults-operator", ["tests/cluster/test_faults_operator.py"])


if __name__ == "__main__":
    sys.exit(main())
