"""The real cluster, through kubernetes.aio's plain client: dicts in, dicts out.

A pass reads its job live, and the job's children from a view that the watches keep (`view`), or live, by label, where
it is to start, end or delete something: a view that lacks a child would start a second attempt. A live read is four
lists, asked at the same time; ConfigMaps come as metadata only, and no resource version is named: it is consistent.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Literal
from urllib.request import getproxies

from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from finetune_operator import names
from finetune_operator.cluster import paths, queues
from finetune_operator.cluster.api import JSON, METADATA_LIST, Api, Asked
from finetune_operator.cluster.errors import ClusterError, NotFound
from finetune_operator.cluster.protocol import Raw, Speaker
from finetune_operator.cluster.view import KINDS, Listed, Place, View, place_of
from finetune_operator.cluster.warnings import Warnings
from finetune_operator.names import Key
from finetune_operator.observe import RawChildren

POD_NAME, POD_UID = "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"


@asynccontextmanager
async def connect(
    namespaces: Sequence[str] = (), asked: Asked = lambda _verb, _resource, _code: None
) -> AsyncIterator[KubernetesCluster]:
    """One shared client: the service account's inside a pod, else KUBECONFIG or ~/.kube/config.

    Raises:
        ClusterError: neither is there, or the kubeconfig can't be used.
    """
    configuration = Configuration()
    try:
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # generated, half typed
    except config.ConfigException:
        try:
            await config.load_kube_config(  # type: ignore[no-untyped-call]  # the same
                client_configuration=configuration, persist_config=False
            )
        except config.ConfigException as error:
            raise ClusterError(f"no cluster to connect to: {error}") from error
    # Unless there is a proxy: aiohttp would read ~/.netrc, in a thread, before each request.
    configuration.client_session_kwargs = {"trust_env": bool(getproxies())}
    async with ApiClient(configuration) as client:
        yield KubernetesCluster(client, namespaces, asked)


class KubernetesCluster:
    """See `protocol.Cluster`."""

    def __init__(
        self,
        client: ApiClient,
        namespaces: Sequence[str] = (),
        asked: Asked = lambda _verb, _resource, _code: None,
    ) -> None:
        self._api = Api(client, asked)
        self._warnings = Warnings(self._api.request)
        self._view = View()
        self._written: dict[Key, str] = {}
        self._namespaces: Sequence[str | None] = namespaces or (None,)

    async def now(self) -> datetime:
        """The time by the API server's clock, as its last answer told it.

        Raises:
            ClusterError: it has not answered yet.
        """
        if not self._api.clock.is_set:
            await self._api.request("GET", "/version")
        return self._api.clock.now()

    async def job(self, key: Key) -> Raw | None:
        """The FineTuneJob as it is now; None where there is none."""
        return await self._api.get(names.KIND, key.namespace, key.name)

    async def jobs(self) -> list[tuple[Key, str]]:
        """Every FineTuneJob that this operator serves, with its resource version."""
        return [
            (Key(metadata["namespace"], metadata["name"]), metadata["resourceVersion"])
            for namespace in self._namespaces
            async for _, chunk in self._api.metadata(names.KIND, namespace)
            for metadata in chunk
        ]

    async def compare(self) -> None:
        """The view with all children that there are: a job whose differ, as an event was lost, is read live next.

        From the first time on, a job of a name that has no children needs no look.
        """
        if self._view.is_idle:
            return
        for kind in KINDS:
            for namespace in self._namespaces:
                listed, version = Listed(kind, namespace), ""
                async for version, chunk in self._api.metadata(kind, namespace, names.LABEL_JOB):  # noqa: B007
                    listed.add(chunk)
                self._view.compare(listed, version)
        self._view.complete()

    def saw(self, kind: str, raw: Raw, *, gone: bool, listed: bool) -> bool:
        """A watch showed a child; False: no news, such as the echo of our own write."""
        return self._view.put(kind, raw, gone=gone, listed=listed)

    def wrote(self, key: Key) -> str | None:
        """The version that our last status write made of a job."""
        return self._written.get(key)

    def doubt(self, key: Key) -> None:
        """Read this job's children live when they are next asked for."""
        self._view.forget(_place(key))

    def forget(self, key: Key) -> None:
        """The job is gone; its children, which go with it, may still be there for a job of the same name."""
        self._written.pop(key, None)
        self._view.forget(_place(key))

    async def children(self, key: Key, claims: Iterable[str], *, live: bool = False) -> RawChildren:
        """What carries this job's label, and the named claims of its namespace; see `protocol.Cluster`."""
        wanted, place, since = tuple(claims), _place(key), self._view.moment
        found, read = await asyncio.gather(
            asyncio.gather(*(self._api.get("PersistentVolumeClaim", key.namespace, claim) for claim in wanted)),
            self._read([place]) if live or self._view.of(place) is None else _nothing(),
        )
        claimed = dict(zip(wanted, found, strict=True))
        if read:
            self._view.replace(place, read[place], since=since)
        known = replace(read[place] if read else self._seen(place), claims=claimed)
        return await queues.told(known, key.namespace, self._api.request)

    def _seen(self, place: Place) -> RawChildren:
        """What the view has; what is new is known as surely as by a live read."""
        return _children(self._view.of(place) or {}, live=self._view.is_new(place))

    async def look_ahead(self, keys: Iterable[Key]) -> None:
        """Read the children of several jobs by one list of each kind, for passes over them that come next."""
        since, by_namespace = self._view.moment, defaultdict[str, list[Place]](list)
        for key in keys:
            by_namespace[key.namespace].append(_place(key))
        for places in by_namespace.values():
            for place, children in (await self._read(places)).items():
                self._view.replace(place, children, since=since)

    async def _read(self, places: Sequence[Place]) -> dict[Place, RawChildren]:
        """Of jobs of one namespace."""
        namespace = places[0][0]
        selector = f"{names.LABEL_JOB} in ({','.join(sorted(label for _, label in places))})"
        as_metadata = {"ConfigMap": METADATA_LIST}
        lists = await asyncio.gather(
            *(self._api.items(kind, namespace, selector, accept=as_metadata.get(kind, JSON)) for kind in KINDS)
        )
        found: dict[Place, dict[str, list[Raw]]] = {place: {kind: [] for kind in KINDS} for place in places}
        for kind, raws in zip(KINDS, lists, strict=True):
            for raw in raws:
                found[place_of(raw)][kind].append(raw)
        return {place: _children(kinds) for place, kinds in found.items()}

    async def apply(self, manifest: Raw) -> None:
        """Server-side apply, by force: every field of the manifest is ours afterwards."""
        metadata = manifest["metadata"]
        made = await self._api.patch(
            paths.of(manifest["kind"], metadata["namespace"], metadata["name"]),
            query=[("fieldManager", names.FIELD_MANAGER), ("force", "true")],
            body=manifest,
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        if names.LABEL_JOB in made.get("metadata", {}).get("labels", {}):
            self._view.put(manifest["kind"], made)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str | None = None) -> None:
        """Delete with all that the object owns, in the background. Gone already, or another uid: nothing to do."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        precondition = {"preconditions": {"uid": uid}} if uid is not None else {}
        try:
            await self._api.request("DELETE", paths.of(kind, namespace, name), body={**options, **precondition})
        except NotFound:
            return
        except ClusterError as error:
            if uid is None or "Precondition failed" not in str(error):
                raise

    async def write_status(self, key: Key, status: Raw, resource_version: str | None = None) -> None:
        """Replace status as a whole: a merge patch would keep every key that we no longer write."""
        patch: list[Raw] = [{"op": "add", "path": "/status", "value": status}]
        if resource_version is not None:
            patch.insert(0, {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version})
        written = await self._api.patch(
            f"{paths.of(names.KIND, key.namespace, key.name)}/status",
            query=[("fieldManager", names.FIELD_MANAGER)],
            body=patch,
            headers={"Content-Type": "application/json-patch+json"},
        )
        self._written[key] = written.get("metadata", {}).get("resourceVersion", "")

    async def warning(self, namespace: str, uid: str, reason: str) -> str:
        """The message of the newest Warning with this reason about an object; "" where none is known."""
        return await self._warnings.newest(namespace, uid, reason)

    async def event(
        self,
        job: Raw,
        reason: str,
        message: str,
        type: Literal["Normal", "Warning"] = "Normal",  # noqa: A002 - the API's own word
        *,
        once: str,
    ) -> None:
        """Tell people through `kubectl describe`, at best effort: a lost event is no error. Its name is of `once`."""
        try:
            body = _event(job, reason, message, type, once, at=self._api.clock.now())
            await self._api.request("POST", paths.of("Event", job["metadata"]["namespace"]), body=body)
        except ClusterError:
            return

    async def review(self, token: str, audience: str) -> Speaker | None:
        """Who speaks: the pod that a token for this audience was made for; None for any other token."""
        answer = await self._api.request(
            "POST",
            paths.TOKEN_REVIEWS,
            body={
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": token, "audiences": [audience]},
            },
        )
        return speaker(answer["status"], audience)


def _place(key: Key) -> Place:
    return key.namespace, names.base_name(key.name)


def _children(kinds: Mapping[str, Iterable[Raw]], *, live: bool = True) -> RawChildren:
    return RawChildren(
        configmaps=tuple(kinds.get("ConfigMap", ())),
        jobs=tuple(kinds.get("Job", ())),
        pytorchjobs=tuple(kinds.get("PyTorchJob", ())),
        pods=tuple(kinds.get("Pod", ())),
        live=live,
    )


async def _nothing() -> dict[Place, RawChildren]:
    return {}


def speaker(status: Raw, audience: str) -> Speaker | None:
    """A TokenReview's status as the pod that speaks; None unless the token is valid, for us, and a pod's."""
    if not status.get("authenticated") or audience not in status.get("audiences", []):
        return None
    user = status.get("user", {})
    extra = user.get("extra", {})
    kind, _, account = user.get("username", "").partition(":serviceaccount:")
    pod, uid = extra.get(POD_NAME, []), extra.get(POD_UID, [])
    if kind != "system" or len(pod) != 1 or len(uid) != 1:
        return None
    return Speaker(namespace=account.partition(":")[0], pod=pod[0], uid=uid[0])


def _event(job: Raw, reason: str, message: str, kind: str, once: str, *, at: datetime) -> Raw:  # noqa: PLR0913 - its fields
    """A core/v1 Event about a FineTuneJob, which the API server takes once: the second of a name is refused."""
    metadata = job["metadata"]
    digest = hashlib.sha256(f"{metadata['uid']}/{once}".encode()).hexdigest()[:16]
    now = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name'][:200]}.{digest}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            **{field: metadata[field] for field in ("namespace", "name", "uid")},
        },
        "reason": reason[:128],
        "message": message[:1024],
        "type": kind,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "source": {"component": names.FIELD_MANAGER},
        "reportingComponent": names.FIELD_MANAGER,
        "reportingInstance": names.FIELD_MANAGER,
    }
