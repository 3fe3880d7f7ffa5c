"""Ranks that are forked of a process in which everything is imported: the imports are most of a tiny run's time.

The users' way, a fresh process or torchrun, is that of test_first_users, test_job_runs and the cluster's tests; and of
every run here that brings an environment or a Python of its own, or wants what `imports.hurry` would hide.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import connection, forkserver
from pathlib import Path

from finetune_trainer import config, imports
from finetune_trainer.config import ConfigInvalid

LIMIT = 300
"""Seconds of a run."""
_GRACE = 5
"""Seconds that the others have to fail too, when a rank has failed."""


def suits(configs: Sequence[Path]) -> bool:
    """Whether these runs need nothing but what is imported already."""
    try:
        loaded = [config.load(path) for path in configs]
    except ConfigInvalid:
        return False
    return not any(asked(cfg) for asked in imports.OPTIONAL.values() for cfg in loaded)


def run(
    configs: Sequence[Path], environment: Mapping[str, str], *, ranks: int, port: int, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run all ranks to their ends, as torchrun would: when one fails the others are ended.

    Args:
        configs: train.yaml of one run after the other.
        environment: all of it.
        ranks: processes.
        port: a free one.
        folder: of what they print.

    Raises:
        TimeoutError: they did not end.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.preloaded"])
    with _environment(environment):
        forkserver.ensure_running()
    names = [str(path) for path in configs]
    folder.mkdir(parents=True, exist_ok=True)
    logs = [folder / f"{configs[0].stem}-{rank}" for rank in range(ranks)]
    processes = [
        context.Process(target=_rank, args=(names, {**environment, **_place(rank, ranks, port)}, str(logs[rank])))
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    try:
        _wait(processes)
    finally:
        for process in processes:
            process.kill()
            process.join()
    codes = [process.exitcode or 0 for process in processes]
    code = next((code for code in codes if code > 0), min(codes))  # the others may have been killed
    said = ["".join(Path(f"{log}.{stream}").read_text(errors="replace") for log in logs) for stream in ("out", "err")]
    return subprocess.CompletedProcess(names, code, *said)


def _wait(processes: Sequence[multiprocessing.process.BaseProcess]) -> None:
    end = time.monotonic() + LIMIT
    alive = list(processes)
    while alive:
        if not connection.wait([one.sentinel for one in alive], timeout=max(0, end - time.monotonic())):
            if any(one.exitcode for one in processes):
                return
            raise TimeoutError(f"ranks that did not end within {LIMIT} s")
        alive = [one for one in alive if one.is_alive()]
        if any(one.exitcode for one in processes):
            end = min(end, time.monotonic() + _GRACE)


def _place(rank: int, ranks: int, port: int) -> dict[str, str]:
    """As torchrun says it; a rank alone is told nothing."""
    if ranks == 1:
        return {}
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(number) for name, number in numbers.items()}}


def _rank(paths: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    """In the forked process."""
    for number, stream in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{log}.{stream}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["rank.py", *paths]

    from tests.training import preloaded

    preloaded.datasets.config.HF_DATASETS_CACHE = environment["HF_DATASETS_CACHE"]
    preloaded.main(paths)


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
