"""The files of a folder: which are missing, whether there is room, several at once."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from rich.filesize import decimal

from finetune_trainer.fetch.download import Downloader, Stopped
from finetune_trainer.fetch.errors import DiskFull, LeaseLost
from finetune_trainer.fetch.lease import Lease
from finetune_trainer.fetch.listing import INCOMPLETE, File
from finetune_trainer.fetch.marker import Fetched
from finetune_trainer.fetch.progress import Meter, Report
from finetune_trainer.fetch.settings import Settings


def fill(wanted: Fetched, downloader: Downloader, lease: Lease, report: Report, settings: Settings) -> None:
    """Fetch what is missing, large files first. Another fetch of this folder may have left some.

    Raises:
        FetchError: of the first file that could not be fetched, of the room, or of the lease.
        OSError: the disk.
    """
    meter = Meter(source=wanted.source, sizes={file.name: file.size for file in wanted.files})
    missing = _missing(wanted, meter)
    _check_room(wanted, missing, settings.free(wanted.folder))
    pool = ThreadPoolExecutor(settings.at_once, thread_name_prefix="fetch")
    try:
        running = [pool.submit(_one, downloader, meter, file) for file in missing]
        _watch(running, meter, lease, report, settings.tick)
    finally:
        downloader.stop.set()
        pool.shutdown(cancel_futures=True)
    if not lease.is_mine():
        raise _lost(wanted.source)


def _missing(wanted: Fetched, meter: Meter) -> list[File]:
    """A file that has its name and its size was compared with its checksum before it got the name."""
    missing = []
    for file in sorted(wanted.files, key=lambda file: (-file.size, file.name)):
        path = wanted.folder / file.name
        if path.is_file() and path.stat().st_size == file.size:
            meter.finish(file.name)
        else:
            meter.put(file.name, _begun(wanted, file))
            missing.append(file)
    return missing


def _begun(wanted: Fetched, file: File) -> int:
    part = wanted.folder / (file.name + INCOMPLETE)
    return min(part.stat().st_size, file.size) if part.is_file() else 0


def _check_room(wanted: Fetched, missing: Sequence[File], free: int) -> None:
    wants = sum(file.size - _begun(wanted, file) for file in missing)
    if wants > free:
        raise DiskFull(
            f"{wanted.source}: needs {decimal(wants)} more, and {wanted.folder} has room for {decimal(free)}; make the"
            " volume larger, or delete models there that nobody needs"
        )


def _one(downloader: Downloader, meter: Meter, file: File) -> None:
    downloader.fetch(file, meter.put)
    meter.finish(file.name)


def _watch(running: Collection[Future[None]], meter: Meter, lease: Lease, report: Report, tick: float) -> None:
    """Report until all have ended, or the first has failed."""
    left = set(running)
    while left:
        report(meter.progress(time.monotonic()))
        done, left = wait(left, timeout=tick, return_when=FIRST_EXCEPTION)
        if lease.lost.is_set():
            raise _lost(meter.source)
        for future in done:
            error = future.exception()
            if error is not None and not isinstance(error, Stopped):
                raise error


def _lost(source: str) -> LeaseLost:
    return LeaseLost(
        f"{source}: this process stood still for so long that another one fetches the model now; the next attempt"
        " waits for it"
    )
