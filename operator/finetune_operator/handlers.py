"""Events in, keys into the queue.

Law: the only room that knows kopf. Only `kopf.on.event` is used: it adds no finalizer and no annotation. An event says
that something changed, never what to do: every event ends as the key of the FineTuneJob that it concerns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol

import aiohttp
import kopf
from kopf._cogs.structs import bodies, dicts  # private, as the next: what kopf remembers can't be said otherwise
from kopf._core.reactor import inventory

from finetune_operator import admission, names
from finetune_operator.names import Key
from finetune_operator.settings import Settings
from finetune_operator.watches import Watches

SETTLE_SECONDS = 0.5
"""Children change in bursts (a pass applies three and writes a status, pods start together): one pass for a burst."""
CHUNK = 100
"""Objects in an answer to the first list: 10,000 jobs in one answer would be 600 MB of Python objects at once."""
WORKER_SECONDS = 0.1
"""kopf's task for an object, and the object's last event with it, live on for so long."""
CHILDREN = {
    "PyTorchJob": (names.PYTORCHJOB_GROUP, "v1", names.PYTORCHJOB_PLURAL),
    "Job": ("batch", "v1", "jobs"),
    "Pod": ("", "v1", "pods"),
    "ConfigMap": ("", "v1", "configmaps"),
}


WATCH_SECONDS = 300
"""The API server ends a watch then, and kopf begins it anew."""


class Program(Protocol):
    """What the events are for."""

    @property
    def watches(self) -> Watches:
        """Told of every watch that is begun."""

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Entered before the first watch, left after the last."""

    def changed(self, key: Key, seconds: float | None) -> None:
        """Something about this job changed: it needs a pass, in so many seconds; None: when nothing else is to do."""

    def rests(self, key: Key, version: str) -> None:
        """It has ended, as its status says of this generation; that is this version of it."""

    def saw(self, kind: str, raw: Mapping[str, Any], *, gone: bool, listed: bool) -> bool:
        """A child as it is now, or as it was when the watch began (`listed`); False: that is no news."""

    def is_echo(self, key: Key, version: str) -> bool:
        """This version of the job is the one that we wrote last."""

    def told(self, key: Key, status: Mapping[str, Any] | None) -> None:
        """What the status of a job says now; None: the job is gone."""


async def operate(settings: Settings, program: Program) -> None:
    """Watch until SIGTERM or SIGINT, or until a watch ends that nothing but a new process can begin again."""
    await kopf.operator(
        registry=registry(program, settings),
        settings=kopf_settings(settings),
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        standalone=True,
        memories=_NoMemories(),
        # Unsaid, kopf asks who the user is, and an image's user has no name in many clusters.
        identity=names.FIELD_MANAGER,  # type: ignore[arg-type]  # a NewType of str that kopf keeps to itself
    )


def registry(program: Program, settings: Settings) -> kopf.OperatorRegistry:
    """All handlers: the program's start and end, and one for each kind that we watch."""
    handlers = kopf.OperatorRegistry()
    running = AsyncExitStack()

    @kopf.on.startup(registry=handlers, id="start", errors=kopf.ErrorsMode.PERMANENT)
    async def start(**_: object) -> None:
        await running.enter_async_context(program.lifespan())

    @kopf.on.cleanup(registry=handlers, id="stop")
    async def stop(**_: object) -> None:
        await running.aclose()

    @kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=handlers, id="job")
    async def job_changed(event: kopf.RawEvent, body: kopf.Body, **_: object) -> None:
        key = Key(body.metadata.namespace or "", body.metadata.name or "")
        program.told(key, None if event["type"] == "DELETED" else body.status)
        version = str(body.metadata.get("resourceVersion"))
        if _has_ended(body):
            program.rests(key, version)
        if not program.is_echo(key, version):
            program.changed(key, _patience(event, body))

    async def applied(
        new: kopf.Body | None = None, old: kopf.Body | None = None, *, warnings: list[str], **_: object
    ) -> None:
        said = admission.answer(dict(new or {}), None if old is None else dict(old), settings)
        warnings.extend(said.warnings)
        if said.refusal is not None:
            raise kopf.AdmissionError(said.refusal, code=422)

    if settings.admission_folder is not None:
        kopf.on.validate(names.GROUP, names.VERSION, names.PLURAL, registry=handlers, id="validate")(applied)
    for kind, resource in CHILDREN.items():
        kopf.on.event(*resource, labels={names.LABEL_JOB: kopf.PRESENT}, registry=handlers, id="child")(
            _child_changed(kind, program)
        )
    kopf.on.login(registry=handlers)(_login(program.watches))
    return handlers


def _has_ended(job: kopf.Body) -> bool:
    """Its status speaks of this generation, and says when it was over."""
    return _is_current(job) and "completionTime" in job.status


def _login(watches: Watches) -> Callable[..., Awaitable[kopf.AiohttpSession | None]]:
    """The service account inside a pod, else the kubeconfig; read again when the token is not taken any more."""

    async def login(**about: Any) -> kopf.AiohttpSession | None:  # noqa: ANN401 - kopf's own
        found = kopf.login_with_service_account(**about) or kopf.login_with_kubeconfig(**about)
        return _session(found, watches) if found is not None else None

    return login


def _session(found: kopf.ConnectionInfo, watches: Watches) -> kopf.AiohttpSession:
    """As kopf would make it, with our middleware."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=found.as_ssl_context()),
        headers=found.as_http_headers(),
        proxy=found.proxy_url,
        trust_env=found.trust_env,
        middlewares=(watches,),
    )
    return kopf.AiohttpSession(
        aiohttp_session=session,
        server=found.server,
        priority=found.priority,
        default_namespace=found.default_namespace,
        expiration=found.expiration,
    )


class _NoEssence(kopf.DiffBaseStorage):
    """No handler of ours asks what changed; else kopf copies each object of each event, three times, to compare it."""

    def build(
        self,
        *,
        body: kopf.Body,  # noqa: ARG002
        extra_fields: Iterable[dicts.FieldSpec] | None = None,  # noqa: ARG002
    ) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing: kopf calls it for change handlers."""


class _NoMemories(inventory.ResourceMemories):
    """Keeps nothing of an object once its event is handled; else kopf keeps some kB of each as long as it lives."""

    async def recall(
        self,
        raw_body: bodies.RawBody,  # noqa: ARG002
        *,
        memobase: object = None,  # noqa: ARG002
        noticed_by_listing: bool = False,
        ephemeral: bool = True,  # noqa: ARG002
    ) -> inventory.ResourceMemory:
        return inventory.ResourceMemory(noticed_by_listing=noticed_by_listing)


def _child_changed(kind: str, program: Program) -> Callable[..., Awaitable[None]]:
    """The handler of a kind of child."""

    async def child_changed(event: kopf.RawEvent, body: kopf.Body, **_: object) -> None:
        job = body.metadata.annotations.get(names.ANNOTATION_JOB)
        if job is None:
            return
        if program.saw(kind, event["object"], gone=event["type"] == "DELETED", listed=event["type"] is None):
            program.changed(Key(body.metadata.namespace or "", job), SETTLE_SECONDS)

    return child_changed


def _patience(event: kopf.RawEvent, job: kopf.Body) -> float | None:
    """How long a pass over a job may wait: not at all, where somebody waits for an answer."""
    if event["type"] is None and _has_ended(job):
        return None
    return SETTLE_SECONDS if _is_current(job) else 0.0


def _is_current(job: kopf.Body) -> bool:
    """Its status speaks of this generation: the event is most likely the echo of our own status write."""
    return job.status.get("observedGeneration") == job.metadata.get("generation")


def kopf_settings(ours: Settings) -> kopf.OperatorSettings:
    """Watches that notice a silent stall and carry only our children; no Events for log lines."""
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = (1, 2, 4, 8, 10, 10, 10, 10)  # a server that is back is found within 10 s
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.client_timeout = WATCH_SECONDS + 10
    settings.watching.inactivity_timeout = 70  # there is a bookmark each minute: a watch without one is dead
    settings.watching.connect_timeout = 30
    settings.watching.chunk_size = CHUNK
    settings.queueing.idle_timeout = WORKER_SECONDS
    settings.persistence.diffbase_storage = _NoEssence()
    for resource in CHILDREN.values():
        settings.watching.label_selectors[resource] = names.LABEL_JOB
    if ours.admission_folder is not None:
        folder = ours.admission_folder
        settings.admission.server = kopf.WebhookServer(
            port=ours.admission_port, certfile=f"{folder}/tls.crt", pkeyfile=f"{folder}/tls.key"
        )
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = 30  # kopf may hang in its end: without watches we must not live on
    return settings
