"""`make faults`: docs/faults.md from what tests/cluster/test_faults.py and test_prepare.py measured.

    python -m dev.faults_table          run every fault under every seed, and write the page
    python -m dev.faults_table --write  write the page from the results that are there

A test leaves a JSON file for each fault and seed in runs/faults, or in the folder that FINETUNE_FAULT_RESULTS names.
They are taken into docs/faults.json, a list, in the place of older ones of the same fault and seed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dev.environment import ROOT

VARIABLE = "FINETUNE_FAULT_RESULTS"
PAGE = ROOT / "docs" / "faults.md"
KEPT = ROOT / "docs" / "faults.json"
TESTS = "(test_faults and not test_faults_operator) or hub_that_stops"
LONGEST = 240
"""Characters of a message that are shown."""
HEAD = """# Faults

What breaks on purpose on the test cluster (two nodes, a rank on each, ZeRO-3 on gloo, 40 steps, a checkpoint each 5),
what `status.attempts` said of it, and what it cost. Made by `make faults` from what `tests/cluster/test_faults.py`
measured (a hub that stops: `test_prepare.py`); the step at which it breaks is drawn from the seed, and status tells
how far it came. Each test also asserts that at most one attempt lived at any time, that nothing was left over, that
the next attempt went on from the last complete checkpoint, and that all 40 losses are those of the unbroken run within
1e-4.

Steps lost: made by the first attempt and made again by the second. Seconds: from the fault to the creation of the next
attempt's PyTorchJob, with a backoff of 1 s (the operator's default is 10 s); of the hub, from its return to the first
attempt.

| fault | seeds | reason | message | rank, node | counted | steps lost | seconds | losses differ by |
|---|---|---|---|---|---|---|---|---|
"""


def page(results: Sequence[dict[str, Any]]) -> str:
    """The whole page of what `merged` gives: a row for each fault."""
    faults = sorted({str(one["fault"]) for one in results})
    rows = [_row([one for one in results if one["fault"] == fault]) for fault in faults]
    return HEAD + "".join(rows)


def merged(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One result of each fault and seed, the new one where there is one; by fault, then by seed."""
    found = {(str(one["fault"]), int(one["seed"])): one for one in (*old, *new)}
    return [found[key] for key in sorted(found)]


def _row(results: Sequence[dict[str, Any]]) -> str:
    """One fault under all its seeds; words are the first seed's, figures the smallest and the largest."""
    first = results[0]
    reasons = ", ".join(sorted({str(one["reason"]) for one in results}))
    where = [f"rank {first['rank']}" if first["rank"] is not None else "", first["node"] or ""]
    differ = [one["difference"] for one in results if "difference" in one]
    cells = (
        first["fault"],
        ", ".join(f"{one['seed']} (step {one['step']})" if one.get("step") else str(one["seed"]) for one in results),
        reasons,
        short(str(first["message"])),
        ", ".join(filter(None, where)) or "-",
        "yes" if first["counted"] else "no",
        span([one["lost"] for one in results if "lost" in one]) or "not retried",
        span([one["seconds"] for one in results if "seconds" in one]) or "-",
        f"{max(differ):.0e}" if differ else "-",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def span(values: Sequence[float]) -> str:
    """The smallest and the largest; "" of none."""
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def short(message: str, longest: int = LONGEST) -> str:
    """A message as a table's cell, of so many characters at most."""
    text = " ".join(message.split()).replace("|", "/")
    return text if len(text) <= longest else f"{text[:longest].rstrip()} ..."


def remake(made: Path, render: Callable[[Sequence[dict[str, Any]]], str], results: Path, tests: Sequence[str]) -> int:
    """Run tests unless told not to, and write their page and, beside it, the results that it is made of.

    Args:
        made: The page; what is kept lies beside it, as JSON.
        render: Of results to the page's text.
        results: Folder of a JSON file for each fault and seed, where the environment names no other.
        tests: Arguments of pytest.

    Returns:
        pytest's exit status.
    """
    folder = Path(os.environ.get(VARIABLE) or results)
    code = 0
    if "--write" not in sys.argv:
        argv = [sys.executable, "-m", "pytest", "-m", "cluster", *tests]
        code = subprocess.run(argv, cwd=ROOT, env={**os.environ, VARIABLE: str(folder)}, check=False).returncode
    kept = made.with_suffix(".json")
    old = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
    new = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*.json")]
    found = merged(old, new)
    kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    made.write_text(render(found), encoding="utf-8")
    print(f"{made.relative_to(ROOT)}: {len(found)} results, {len(new)} of them new")
    return code


def main() -> int:
    """`remake` for the faults of a run."""
    return remake(PAGE, page, ROOT / "runs" / "faults", ["-k", TESTS, "tests/cluster"])


if __name__ == "__main__":
    sys.exit(main())
