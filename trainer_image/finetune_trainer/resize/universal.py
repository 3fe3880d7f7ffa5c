"""DeepSpeed's universal checkpoint beside a checkpoint: made once, by rank 0, while the others wait.

It lies in checkpoint-N/global_stepN_universal, and `latest_universal` is written last: without it the rest is half
written. Both go when the checkpoint goes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

from finetune_trainer import atomic, memory
from finetune_trainer.checkpoints import Keeper
from finetune_trainer.distributed import World
from finetune_trainer.failures import CheckpointInvalid

MARK = "latest_universal"
"""DeepSpeed's own name; it holds the folder's."""
_DRAFT = "universal-draft-{}"
_LOG = "convert.log"
_SECONDS = 0.5
"""Between two looks at the process."""
_SMALL = 1 << 30
"""Bytes of one rank's part below which one process is the fastest."""
_MOST = 8
"""Processes: a shared volume is not faster with more."""


def unite(checkpoint: Path, world: World, keeper: Keeper) -> None:
    """Make the universal checkpoint unless it is there. Every rank calls it, rank 0 does it.

    Raises:
        CheckpointInvalid: DeepSpeed can't; with its words.
        Fenced: a later attempt has begun meanwhile.
    """
    work = _Conversion(checkpoint) if world.is_first and not is_united(checkpoint) else None
    try:
        while True:
            ended, words = world.gather(work.look() if work is not None else (True, ""))[0]
            if ended:
                break
            time.sleep(_SECONDS)
        if words:
            raise CheckpointInvalid(f"{checkpoint.name} can't go on with another number of ranks: {words}")
        keeper.check_fence()
        if work is not None:
            work.publish()
    finally:
        if work is not None:
            work.close()
    world.barrier()
    _prepare_loading()


def _prepare_loading() -> None:
    from finetune_trainer.resize import round_robin

    round_robin.relink()


def is_united(checkpoint: Path) -> bool:
    """Whether a whole universal checkpoint lies there."""
    try:
        tag = (checkpoint / MARK).read_text(encoding="utf-8").strip()
    except OSError:
        return False
    return bool(tag) and (checkpoint / tag).is_dir()


def workers(part: int, *, free: int | None, cores: int) -> int:
    """How many processes read a rank's part each.

    Args:
        part: bytes of the largest.
        free: bytes of memory; None: unknown.
        cores: of this machine.
    """
    if part < _SMALL or free is None:
        return 1
    return max(1, min(_MOST, cores, free // (2 * part)))


class _Conversion:
    """The process that converts, and the folder that it writes."""

    def __init__(self, checkpoint: Path) -> None:
        """Start it; what goes wrong is told by `look`."""
        self._checkpoint = checkpoint
        self._draft = checkpoint / _DRAFT.format(os.getpid())
        self._failed = ""
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._tag = (checkpoint / "latest").read_text(encoding="utf-8").strip()
            for old in checkpoint.glob(_DRAFT.format("*")):
                shutil.rmtree(old)
            self._draft.mkdir()
            self._process = self._start()
        except OSError as error:
            self._failed = str(error)

    def look(self) -> tuple[bool, str]:
        """Whether it has ended, and why it failed."""
        if self._process is None:
            return True, self._failed
        code = self._process.poll()
        if code is None:
            return False, ""
        return True, "" if code == 0 else self._last_words(code)

    def publish(self) -> None:
        """All is on the disk: give it its name, then write the mark."""
        name = f"{self._tag}_universal"
        shutil.rmtree(self._checkpoint / name, ignore_errors=True)
        (self._draft / name).replace(self._checkpoint / name)
        atomic.write(self._checkpoint / MARK, name)

    def close(self) -> None:
        """End the process, if need be, and drop what it left."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._draft, ignore_errors=True)

    def _start(self) -> subprocess.Popen[bytes]:
        parts = [path.stat().st_size for path in (self._checkpoint / self._tag).glob("*_optim_states.pt")]
        free = memory.free(torch.device("cpu"), sharers=1)
        number = workers(max(parts, default=0), free=free, cores=len(os.sched_getaffinity(0)))
        # Relative names: DeepSpeed takes them for patterns, and a folder may be called a+b or [1].
        words = [self._tag, f"{self._draft.name}/{self._tag}_universal", str(number)]
        program = [sys.executable, "-P", "-m", "finetune_trainer.resize.convert"]  # -P: imports nothing from there
        with (self._draft / _LOG).open("wb") as log:
            return subprocess.Popen(
                [*program, *words],
                cwd=self._checkpoint,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _last_words(self, code: int) -> str:
        lines = (self._draft / _LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines and code > 0 else f"the process that converts it ended with {code}"
