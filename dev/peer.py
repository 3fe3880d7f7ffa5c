"""The peer that we compare ourselves with: LLaMA-Factory 0.9.5 in an environment of its own, and its demo data.

    python -m dev.peer          make both, unless they are there

The environment is 6 GB, at `cache_root()/peer-llamafactory-0.9.5`, at the exact versions of constraints/peer.txt. The
peer's code never runs in our process: `run` hands jobs to peer_side.py, which calls LLaMA-Factory's own `get_dataset`.
Standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dev.environment import ROOT, cache_root

PACKAGE = "llamafactory==0.9.5"
PINS = ROOT / "constraints" / "peer.txt"
SIDE = Path(__file__).parent / "peer_side.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One call of LLaMA-Factory's get_dataset."""

    name: str
    args: dict[str, Any]
    """Keys of train.yaml; stage as written there (dpo is LLaMA-Factory's data stage rm)."""
    save: Path | None = None
    """Folder for `train.arrow`, `eval.arrow` or `eval_<name>.arrow` (Arrow files); None: only timed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of a job."""

    name: str
    rows: dict[str, int]
    """Rows of each part."""
    seconds: float
    """Around get_dataset: from files on disk to its Arrow cache on disk."""
    cpu: float
    """Seconds of processor time in the same span, of the process and its workers."""
    error: str | None
    """LLaMA-Factory's exception; then there are no rows."""


def environment() -> Path:
    """The peer's Python; installed first where it is not, which takes minutes.

    Raises:
        subprocess.CalledProcessError: pip failed; its words are on stderr.
    """
    target = cache_root() / f"peer-{PACKAGE.replace('==', '-')}"
    complete, python = target / "complete", target / "bin" / "python"
    if complete.exists() and complete.read_text() == PINS.read_text():
        return python
    print(f"installing {PACKAGE} into {target} (once, about 6 GB)", flush=True)
    shutil.rmtree(target, ignore_errors=True)
    venv.create(target, with_pip=True)
    # The pins are the whole environment, so nothing is left to resolve.
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", PINS], check=True)
    complete.write_text(PINS.read_text())
    return python


def demo_data() -> Path:
    """The `data` folder of LLaMA-Factory's source distribution: dataset_info.json and its demo sets, 10 MB.

    Raises:
        subprocess.CalledProcessError: the package index does not answer.
    """
    return _from_source("data", cache_root() / f"demo-data-{PACKAGE.replace('==', '-')}")


def examples() -> Path:
    """The `examples` folder of LLaMA-Factory's source distribution: configurations, 0.2 MB.

    Raises:
        subprocess.CalledProcessError: the package index does not answer.
    """
    return _from_source("examples", cache_root() / f"examples-{PACKAGE.replace('==', '-')}")


def run(jobs: Sequence[Job], *, quiet: bool = True) -> list[Outcome]:
    """Run the jobs in the peer, one after the other in one process each, with empty caches; outcomes in their order.

    Raises:
        RuntimeError: the peer itself broke, not a job.
    """
    with tempfile.TemporaryDirectory(prefix="peer-") as scratch:
        told, said = Path(scratch) / "jobs.json", Path(scratch) / "outcomes.json"
        told.write_text(json.dumps([{**asdict(job), "save": job.save and str(job.save)} for job in jobs]))
        out = subprocess.DEVNULL if quiet else None
        command = [environment(), SIDE, told, said, Path(scratch) / "cache"]
        done = subprocess.run(command, env=_offline(), stdout=out, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the peer ended with {done.returncode}: {done.stderr[-2000:]}")
        return [Outcome(**outcome) for outcome in json.loads(said.read_text())]


def _offline() -> dict[str, str]:
    # Its own modules only: nothing of our checkout or environment may be seen.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "CUDA_VISIBLE_DEVICES": ""}


def _from_source(part: str, target: Path) -> Path:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            _unpack(_download(Path(scratch)), part, Path(scratch) / part)
            (Path(scratch) / part).rename(target)
    return target


def _download(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    # Its build back end must not be needed to read a tar file, but pip asks it for metadata.
    subprocess.run([*pip, "--dest", folder, PACKAGE], check=True)
    return next(folder.glob("llamafactory-*.tar.gz"))


def _unpack(archive: Path, part: str, target: Path) -> None:
    with tarfile.open(archive) as tar:
        top = tar.next()
        assert top is not None
        prefix = f"{top.name.split('/')[0]}/{part}/"
        for member in tar.getmembers():
            if member.isfile() and member.name.startswith(prefix):
                member.name = member.name.removeprefix(prefix)
                tar.extract(member, target, filter="data")


def main() -> None:
    """Make what is missing."""
    started = time.monotonic()
    print(environment())
    print(demo_data())
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
