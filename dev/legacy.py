"""The second stack, as the image `legacy` has it: transformers 4.53.2 for models whose own code needs that.

    python -m dev.legacy        make it, unless it is there; prints its Python

A small environment (150 MB) at `cache_root()/legacy-<key>`: the packages whose versions in constraints/legacy.txt are
others than in constraints/current.txt, and behind them the shared environment, whose torch is the same. Unlike the
image it can see packages that legacy.txt does not have, such as trl; the tests look that nobody imports them.
Standard library only.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import venv
from pathlib import Path

from dev.environment import CONSTRAINTS, ROOT, cache_root, key, shared_environment, site_packages

PINS = ROOT / "constraints" / "legacy.txt"


def environment() -> Path:
    """Its Python; installed first where it is not, which takes seconds.

    Raises:
        subprocess.CalledProcessError: pip failed; its words are on stderr.
    """
    target = cache_root() / f"legacy-{_key()}"
    python = target / "bin" / "python"
    if (target / "complete").exists():
        return python
    shutil.rmtree(target, ignore_errors=True)
    venv.create(target, with_pip=True)
    (site_packages(target) / "shared-dependencies.pth").write_text(f"{site_packages(shared_environment())}\n")
    # The pins are the whole environment, so nothing is left to resolve.
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *different()], check=True)
    (target / "complete").touch()
    return python


def different() -> list[str]:
    """Requirements `name==version` of the legacy stack that the current one does not have at that version."""
    return sorted(_pins(PINS) - _pins(CONSTRAINTS))


def _pins(path: Path) -> set[str]:
    return {line.strip() for line in path.read_text().splitlines() if "==" in line and not line.startswith("#")}


def _key() -> str:
    return hashlib.sha256("\n".join([key(), *different()]).encode()).hexdigest()[:12]


def main() -> None:
    """Make it."""
    print(environment())


if __name__ == "__main__":
    main()
