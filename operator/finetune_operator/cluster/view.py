"""What our own reads and writes, and the watches after them, have shown of the children of jobs that go on.

A view may lack what happened a moment ago, so it serves only passes that tell; what starts, ends or deletes something
is decided on a live read (`reconcile`). It never lacks what we made ourselves: a write puts its answer in. An object
only ever gets newer in it: resource versions are compared.
"""

from __future__ import annotations

from collections.abc import Iterable

from finetune_operator import names
from finetune_operator.cluster.protocol import Raw
from finetune_operator.observe import RawChildren

Place = tuple[str, str]
"""(namespace, value of the job's label)."""
KINDS = ("ConfigMap", "Job", "PyTorchJob", "Pod")
_SPEC_KEPT = {"ConfigMap": (), "Job": (), "PyTorchJob": ("runPolicy", "pytorchReplicaSpecs"), "Pod": ("nodeName",)}
"""What `observe` reads of a spec."""


class Listed:
    """All children of one kind, as a list of the API server tells them."""

    def __init__(self, kind: str, namespace: str | None) -> None:
        self.kind, self.namespace = kind, namespace
        """None: of all namespaces."""
        self.found: dict[Place, dict[str, int]] = {}
        """By job: name -> version."""

    def add(self, chunk: Iterable[Raw]) -> None:
        """Some objects' metadata."""
        for metadata in chunk:
            raw = {"metadata": metadata}
            self.found.setdefault(place_of(raw), {})[metadata["name"]] = _version(raw)


class View:
    """The children of each job, without what nobody reads of them."""

    def __init__(self) -> None:
        self._jobs: dict[Place, dict[tuple[str, str], Raw]] = {}
        self._named: dict[Place, int] = {}
        """Of all children that were ever seen here: when a watch or a write last showed one."""
        self._is_complete = False
        self.moment = 0
        """Rises with everything that is shown."""

    @property
    def is_idle(self) -> bool:
        """It follows no job, and knows who has children."""
        return self._is_complete and not self._jobs

    def compare(self, listed: Listed, version: str) -> None:
        """Forget the jobs that lack a child of the list, or have one older, or one that is not there any more.

        Args:
            listed: of one kind, complete.
            version: at which it was so; what is newer in the view is no fault.
        """
        for place in listed.found:
            self._named.setdefault(place, self.moment)
        for place in [place for place in self._jobs if listed.namespace in {None, place[0]}]:
            there = listed.found.get(place, {})
            ours = {name: _version(raw) for (kind, name), raw in self._jobs[place].items() if kind == listed.kind}
            is_behind = any(ours.get(name, -1) < newest for name, newest in there.items())
            if is_behind or any(known <= _number(version) for name, known in ours.items() if name not in there):
                self.forget(place)

    def complete(self) -> None:
        """All kinds were compared: a job of a name that was not among them has no child but those told of later."""
        self._is_complete = True

    def put(self, kind: str, raw: Raw, *, gone: bool = False, listed: bool = False) -> bool:
        """A child as a watch or a write showed it; False: that is known already.

        `listed`: it was there when a watch began, which is news only of a job that is followed.
        """
        place = place_of(raw)
        known = self._jobs.get(place)
        if known is None and self._is_complete and place not in self._named:
            known = self._jobs[place] = {}
        self.moment += 1
        self._named[place] = self.moment
        if known is None:
            return not listed
        name = (kind, raw["metadata"]["name"])
        newest, version = _version(known[name]) if name in known else -1, _version(raw)
        if newest > version or (newest == version and not gone):
            return False
        if gone:
            known.pop(name, None)
        else:
            known[name] = trimmed(kind, raw)
        return True

    def replace(self, place: Place, children: RawChildren, *, since: int) -> None:
        """All children of a job as they were read live, from the moment `since` on.

        Not kept if one of them was shown meanwhile: nobody knows which is newer, and the next pass reads live again.
        """
        if self._named.get(place, 0) > since:
            self.forget(place)
            return
        lists = (children.configmaps, children.jobs, children.pytorchjobs, children.pods)
        self._jobs[place] = {
            (kind, raw["metadata"]["name"]): trimmed(kind, raw)
            for kind, raws in zip(KINDS, lists, strict=True)
            for raw in raws
        }
        if self._jobs[place]:
            self._named.setdefault(place, since)

    def of(self, place: Place) -> dict[str, tuple[Raw, ...]] | None:
        """Kind -> the children; None: they have to be read."""
        known = self._jobs.get(place)
        if known is None and not self.is_new(place):
            return None
        return {kind: tuple(raw for (of, _), raw in (known or {}).items() if of == kind) for kind in KINDS}

    def is_new(self, place: Place) -> bool:
        """No child of a job of this name was ever seen, and none can have been missed: there is none."""
        return self._is_complete and place not in self._named

    def forget(self, place: Place) -> None:
        """The next pass reads live."""
        self._jobs.pop(place, None)


def place_of(raw: Raw) -> Place:
    """Whose child it is."""
    metadata = raw["metadata"]
    return metadata["namespace"], metadata["labels"][names.LABEL_JOB]


def _version(raw: Raw) -> int:
    return _number(str(raw["metadata"].get("resourceVersion", "")))


def _number(version: str) -> int:
    """Rises with every change of a resource, as Kubernetes promises since 1.35 and etcd always did."""
    return int(version) if version.isdigit() else 0


def trimmed(kind: str, raw: Raw) -> Raw:
    """What `observe` reads of a child; templates are most of an object."""
    metadata = {key: value for key, value in raw["metadata"].items() if key != "managedFields"}
    spec = raw.get("spec") or {}
    kept = {key: spec[key] for key in _SPEC_KEPT[kind] if key in spec}
    if replicas := kept.get("pytorchReplicaSpecs"):
        kept["pytorchReplicaSpecs"] = {name: _counted(one) for name, one in replicas.items()}
    return {"metadata": metadata, "spec": kept, "status": raw.get("status") or {}}


def _counted(replicas: Raw) -> Raw:
    return {key: value for key, value in replicas.items() if key != "template"}
