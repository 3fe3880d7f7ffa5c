"""Claims: there, mountable on every node, writable where something is written.

A claim that was not observed (`finetune validate` without a cluster) is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable

from finetune_operator import spec
from finetune_operator.observe import Observed, ObservedClaim
from finetune_operator.settings import Settings
from finetune_operator.spec import FineTuneJob, Violation

_ONE_NODE = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


def found(job: FineTuneJob, observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """Every claim that the job names exists."""
    for path, claim in _claims(job, observed):
        if not claim.found:
            yield Violation(path=path, message=f"there is no PersistentVolumeClaim {claim.name} in {job.namespace}")


def shared_by_all_nodes(job: FineTuneJob, observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """With several nodes, every claim can be mounted on all of them."""
    nodes = job.spec.resources.nodes
    for path, claim in _claims(job, observed):
        if nodes > 1 and claim.found and _ONE_NODE.issuperset(claim.access_modes):
            wish = "ReadWriteMany" if path.startswith("spec.storage") else "ReadWriteMany or ReadOnlyMany"
            message = f"the claim {claim.name} is {_modes(claim)} and can't serve {nodes} nodes; name a {wish} claim"
            yield Violation(path=path, message=f"{message}, or write spec.resources.nodes: 1")


def writable_output(job: FineTuneJob, observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """The run can write to its output and cache."""
    for path, claim in _claims(job, observed):
        if path.startswith("spec.storage") and claim.access_modes == ("ReadOnlyMany",):
            yield Violation(path=path, message=f"the claim {claim.name} is ReadOnlyMany; name one that can be written")


def output_for_many_nodes(job: FineTuneJob, _observed: Observed, _settings: Settings) -> Iterable[Violation]:
    """Several nodes write to one shared output."""
    nodes = job.spec.resources.nodes
    if nodes > 1 and job.spec.storage.output is None:
        message = (
            f"{nodes} nodes need one folder to write to: storage: {{output: {{claimName: <a ReadWriteMany claim>}}}}"
        )
        yield Violation(path="spec.storage.output", message=message)


def _claims(job: FineTuneJob, observed: Observed) -> Iterable[tuple[str, ObservedClaim]]:
    for name, paths in spec.claims(job.spec).items():
        for path in paths:
            if name in observed.claims:
                yield path, observed.claims[name]


def _modes(claim: ObservedClaim) -> str:
    return ", ".join(claim.access_modes) or "without an access mode"
