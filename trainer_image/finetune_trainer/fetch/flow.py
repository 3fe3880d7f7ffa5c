"""A fetch from its beginning to its end: resolve, lease, files, mark."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from finetune_trainer import http_session
from finetune_trainer.fetch import filling, lease, listing, marker, source
from finetune_trainer.fetch.credentials import Credentials
from finetune_trainer.fetch.download import Downloader
from finetune_trainer.fetch.errors import CacheUnusable, DiskFull
from finetune_trainer.fetch.marker import Fetched
from finetune_trainer.fetch.needed import needed
from finetune_trainer.fetch.origins import Asker, Origin, origin_of
from finetune_trainer.fetch.origins.huggingface import COMMIT
from finetune_trainer.fetch.progress import Progress, Report
from finetune_trainer.fetch.settings import Settings
from finetune_trainer.fetch.source import Source


def fetch(
    text: str,
    cache: Path,
    *,
    credentials: Credentials,
    report: Report,
    settings: Settings | None = None,
) -> Fetched:
    """The model of a source, in the cache at `<cache>/<kind>/<where>/<revision>/`; fetched unless it lies there.

    A commit that lies there needs no network; a branch is asked for, it may have moved.

    Args:
        text: hf://org/name[@revision], ms://org/name[@revision], s3://bucket/prefix or https://host/path/.
        cache: a folder, which may be on a volume that other jobs share.
        credentials: where the hubs are, and what opens them.
        report: called from this thread, about each `settings.tick`.
        settings: how often and how long; None: as it suits everybody.

    Raises:
        FetchError: what is wrong and what to do. Where it is `retryable`, another call goes on from here.
    """
    asked = source.parse(text)
    with _disk_told(asked, cache):
        fetched = _known(asked, cache) or _fetch(asked, cache, credentials, report, settings or Settings())
    report(
        Progress(
            phase="done",
            source=str(asked),
            bytes=fetched.bytes,
            total_bytes=fetched.bytes,
            files=len(fetched.files),
            total_files=len(fetched.files),
        )
    )
    return fetched


def _known(asked: Source, cache: Path) -> Fetched | None:
    """The commit that was named, if it lies there: it can't have changed."""
    if asked.revision is None or not COMMIT.fullmatch(asked.revision):
        return None
    return marker.read(cache / asked.folder / asked.revision)


def _fetch(asked: Source, cache: Path, credentials: Credentials, report: Report, settings: Settings) -> Fetched:
    report(Progress(phase="resolving", source=str(asked)))
    with http_session.session(
        attempts=settings.attempts, backoff=settings.backoff, connections=settings.at_once
    ) as session:
        origin = origin_of(
            asked, credentials, Asker(str(asked), session), http_session.retry(settings.attempts, settings.backoff)
        )
        wanted = _resolve(asked, cache / asked.folder, origin)
        wanted.folder.mkdir(parents=True, exist_ok=True)
        with lease.held(
            wanted.folder.with_name(f"{wanted.folder.name}.lock"),
            settings.pulse,
            is_done=lambda: marker.read(wanted.folder) is not None,
            waiting=lambda: report(Progress(phase="waiting", source=str(asked))),
        ) as mine:
            if mine is not None:
                filling.fill(wanted, Downloader.of(wanted, origin, session, settings), mine, report, settings)
                marker.write(wanted)
    return wanted


def _resolve(asked: Source, home: Path, origin: Origin) -> Fetched:
    """What the folder will hold when it is complete."""
    told = origin.listing()
    listing.check_names(asked, told.files)
    wanted = needed(told.files)
    files = origin.examined(wanted.files)
    revision = told.revision or listing.content_revision(files)
    return Fetched(
        folder=home / revision,
        source=str(asked),
        revision=revision,
        files=files,
        left_out={file.name: why for file, why in wanted.left_out},
    )


@contextlib.contextmanager
def _disk_told(asked: Source, cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"{asked}: the disk of {cache} is full; what came stays, and the next attempt goes on from there once"
                " there is room"
            ) from error
        raise CacheUnusable(f"{asked}: the cache {cache} cannot be used: {error}") from error
