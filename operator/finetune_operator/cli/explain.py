"""`finetune explain JOB`: why a job of a cluster stands where it stands."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime

from finetune_operator import spec
from finetune_operator.cli import trace
from finetune_operator.cli.manifest import NAMESPACE
from finetune_operator.cli.verb import Verb
from finetune_operator.cluster import Cluster, ClusterError
from finetune_operator.names import Key
from finetune_operator.observe import RawChildren
from finetune_operator.settings import Settings


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("job", help="its name")
    parser.add_argument("-n", "--namespace", default=NAMESPACE, help="its namespace (%(default)s)")


def _run(arguments: Namespace) -> int:
    key = Key(arguments.namespace, arguments.job)
    try:
        told = asyncio.run(_told(key, Settings.from_environment()))
    except ClusterError as error:
        raise ValueError(str(error)) from error
    _print(told)
    return 0


def _print(told: list[trace.Line]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    for head, words in told:
        table.add_row(head, Text(words))
    Console().print(table)


async def _told(key: Key, settings: Settings) -> list[trace.Line]:
    from finetune_operator.cluster.client import connect

    async with connect() as cluster:
        body = await cluster.job(key)
        if body is None:
            raise ValueError(f"there is no FineTuneJob {key.name} in namespace {key.namespace}")
        children = await _children(key, cluster, body)
    return list(trace.lines(body, children, settings, datetime.now(UTC)))


async def _children(key: Key, cluster: Cluster, body: dict[str, object]) -> RawChildren:
    """None of a job that can't be read: the operator does not look for them either."""
    try:
        job = spec.parse(body)
    except spec.SpecInvalid:
        return RawChildren()
    return await cluster.children(key, spec.claims(job.spec))


VERB = Verb(
    help="why a job of the cluster stands where it stands: what was seen, which policy spoke, what comes next",
    configure=_configure,
    run=_run,
)
