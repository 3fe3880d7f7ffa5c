"""The operator without kopf: the queue with its resync, the intake and the probes, around one cluster.

Law: puts rooms together; decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from finetune_operator import intake, metrics
from finetune_operator.certificate import Certificate
from finetune_operator.cluster import ClusterError
from finetune_operator.cluster.client import KubernetesCluster, connect
from finetune_operator.names import Key
from finetune_operator.reconcile import reconcile
from finetune_operator.resync import Resync
from finetune_operator.settings import Settings
from finetune_operator.watches import Watches
from finetune_operator.workqueue import Lane, Pass, WorkQueue

logger = logging.getLogger(__name__)
LIST_AGAIN_SECONDS = 5.0
SHUTDOWN_SECONDS = 2.0
"""For requests that are being answered when the program ends."""
DEAD_WATCH_SECONDS = 660.0
"""Twice what the longest watch lasts."""


class Program:
    """Everything but kopf: the queue with its resync, and two servers, around one cluster."""

    def __init__(self, settings: Settings) -> None:
        """Put together what needs no loop yet.

        Raises:
            ValueError: settings.intake_tls_folder holds no certificate.
        """
        folder = settings.intake_tls_folder
        self._settings = settings
        self._certificate = Certificate(Path(folder)) if folder is not None else None
        self._metrics = metrics.Metrics()
        self._progress = intake.ProgressStore()
        self._queue = WorkQueue(concurrency=settings.concurrency, finished=self._metrics.passed)
        self._metrics.watch_queue(self._queue.__len__)
        self.watches = Watches(DEAD_WATCH_SECONDS)
        self._inside: _Inside

    def changed(self, key: Key, seconds: float | None) -> None:
        """Something about this job changed: it needs a pass, in so many seconds; None: when nothing else is to do."""
        if seconds is None:
            self._queue.add(key, Lane.RESTING)
        elif seconds:
            self._queue.add_after(key, seconds)
        else:
            self._queue.add(key, Lane.ASKED)

    def rests(self, key: Key, version: str) -> None:
        """It has ended, as its status says of this generation; that is this version of it."""
        self._inside.resync.rests(key, version)
        self._inside.cluster.doubt(key)

    def saw(self, kind: str, raw: Mapping[str, Any], *, gone: bool, listed: bool) -> bool:
        """A child as it is now, or as it was when the watch began (`listed`); False: that is no news."""
        return self._inside.cluster.saw(kind, dict(raw), gone=gone, listed=listed)

    def is_echo(self, key: Key, version: str) -> bool:
        """This version of the job is the one that we wrote last."""
        return self._inside.cluster.wrote(key) == version

    def told(self, key: Key, status: Mapping[str, Any] | None) -> None:
        """What the status of a job says now; None: the job is gone."""
        self._metrics.job(key, status)
        if status is None:
            self._progress.forget(key)
            self._inside.cluster.forget(key)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Runs inside; afterwards nothing is left."""
        settings = self._settings
        async with connect(settings.namespaces, self._metrics.asked) as cluster:
            resync = Resync(partial(_compared, cluster), self._queue.add, seconds=settings.resync_seconds)
            self._inside = _Inside(cluster=cluster, resync=resync)
            posts = intake.app(cluster, self._progress, self._posted, self._metrics.posted)
            health = metrics.app(self._metrics, lambda: _ailing(self._queue, resync, self.watches))
            tls = self._certificate.context if self._certificate else None
            async with (
                _renewed(self._certificate),
                _served(posts, settings.intake_bind, tls),
                _served(health, settings.health_bind),
            ):
                self._queue.start(self._pass_on(cluster), cluster.look_ahead)
                resync.start()
                listing = asyncio.create_task(_first_listed(cluster), name="list of all children")
                try:
                    yield
                finally:
                    listing.cancel()
                    await resync.stop()
                    await self._queue.stop()

    def _pass_on(self, cluster: KubernetesCluster) -> Pass:
        async def one_pass(key: Key) -> float | None:
            try:
                return await reconcile(key, cluster, self._known_by(), self._progress, await cluster.now())
            finally:
                if self._inside.resync.is_resting(key):
                    cluster.doubt(key)  # of one that has ended, nothing is kept in memory

        return one_pass

    def _known_by(self) -> Settings:
        """The settings, with what the pods know the intake by at present."""
        settings = self._settings
        if self._certificate is None or settings.intake_ca is not None:
            return settings
        return settings.model_copy(update={"intake_ca": self._certificate.authority})

    def _posted(self, key: Key) -> None:
        """Posts of one job lead to one pass in `progress_seconds`, however many they are."""
        self._queue.add_after(key, self._settings.progress_seconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Inside:
    """What there is while the program runs."""

    cluster: KubernetesCluster
    resync: Resync


async def _compared(cluster: KubernetesCluster) -> list[tuple[Key, str]]:
    """All jobs, for passes that find what no watch has shown."""
    await cluster.compare()
    return await cluster.jobs()


async def _first_listed(cluster: KubernetesCluster) -> None:
    """Until it was possible; before that, each new job's children are read live."""
    while True:
        try:
            return await cluster.compare()
        except ClusterError as error:
            logger.warning("could not list the children of all jobs: %s", error)
            await asyncio.sleep(LIST_AGAIN_SECONDS)


def _ailing(queue: WorkQueue, resync: Resync, watches: Watches) -> str | None:
    """What a restart would mend."""
    if not queue.alive:
        return "the work queue has stopped"
    if not resync.alive:
        return "the resync has stopped"
    return f"the watch of {watches.dead} has ended" if watches.dead else None


@asynccontextmanager
async def _renewed(certificate: Certificate | None) -> AsyncIterator[None]:
    """A certificate, where there is one, is read again when it changes."""
    keeping = asyncio.create_task(certificate.keep()) if certificate is not None else None
    try:
        yield
    finally:
        if keeping is not None:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping


@asynccontextmanager
async def _served(application: web.Application, bind: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
    """A server at `host:port`."""
    host, _, port = bind.rpartition(":")
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host or None, int(port), ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()
