"""What `kubectl auth can-i` is asked about the operator's account: all that its roles name, and what they must not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .chart_rights import MODES, Rights
from .harness.waiting import ClusterError
from .session import Cluster

AT_ONCE = 4
_CHILDREN = ("configmaps", "jobs.batch", "pytorchjobs.kubeflow.org")


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A verb on a resource, and where the operator is to have it."""

    verb: str
    resource: str
    """`resource.group`, and its subresource behind a slash."""
    wanted: tuple[str, ...] = ()
    """Modes in which it may; a namespaced operator in its own namespaces alone."""
    of_the_cluster: bool = False
    """The resource has no namespace."""

    @property
    def text(self) -> str:
        """`list pods`."""
        return f"{self.verb} {self.resource}"

    def expected(self, mode: str) -> dict[str, bool]:
        """Where -> whether it may."""
        may = mode in self.wanted
        return {"cluster": may} if self.of_the_cluster else {"served": may, "other": may and mode == "cluster"}


def _all(
    verbs: str, resource: str, *, wanted: tuple[str, ...] = (), of_the_cluster: bool = False
) -> tuple[Question, ...]:
    return tuple(
        Question(verb=verb, resource=resource, wanted=wanted, of_the_cluster=of_the_cluster) for verb in verbs.split()
    )


NOT_ASKED = frozenset({"kueue.x-k8s.io", "visibility.kueue.x-k8s.io"})
"""Groups that this cluster does not serve: kubectl finds their kinds by asking the API server for them."""
QUESTIONS: tuple[Question, ...] = (
    *_all("get list watch", "finetunejobs.finetune.dev", wanted=MODES),
    *_all("create update patch delete", "finetunejobs.finetune.dev"),
    *_all("patch", "finetunejobs.finetune.dev/status", wanted=MODES),
    *_all("update", "finetunejobs.finetune.dev/finalizers", wanted=MODES),
    *(
        question
        for child in _CHILDREN
        for question in (
            *_all("list watch create patch delete", child, wanted=MODES),
            *_all("get update deletecollection", child),
        )
    ),
    *_all("list watch", "pods", wanted=MODES),
    *_all("get create patch delete", "pods"),
    *_all("get", "pods/log"),
    *_all("create", "pods/exec"),
    *_all("create", "pods/portforward"),
    *_all("update", "pods/ephemeralcontainers"),
    *_all("get", "persistentvolumeclaims", wanted=MODES),
    *_all("list create delete", "persistentvolumeclaims"),
    *_all("create list", "events", wanted=MODES),
    *_all("watch patch delete", "events"),
    *_all("get list watch create patch delete", "secrets"),
    *_all("get create", "serviceaccounts"),
    *_all("create", "serviceaccounts/token"),
    *_all("create patch bind escalate", "roles.rbac.authorization.k8s.io"),
    *_all("create", "rolebindings.rbac.authorization.k8s.io"),
    *_all("create", "deployments.apps"),
    *_all("create", "tokenreviews.authentication.k8s.io", wanted=MODES, of_the_cluster=True),
    *_all("list watch", "customresourcedefinitions.apiextensions.k8s.io", wanted=MODES, of_the_cluster=True),
    *_all("create patch delete", "customresourcedefinitions.apiextensions.k8s.io", of_the_cluster=True),
    *_all("list watch", "namespaces", wanted=("namespaced",), of_the_cluster=True),
    *_all("create patch delete", "namespaces", of_the_cluster=True),
    *_all("get list patch", "nodes", of_the_cluster=True),
    *_all("create bind escalate", "clusterroles.rbac.authorization.k8s.io", of_the_cluster=True),
    *_all("impersonate", "users", of_the_cluster=True),
    *_all(
        "create patch", "validatingwebhookconfigurations.admissionregistration.k8s.io",
        of_the_cluster=True,
    ),
)  # fmt: skip


def answers(cluster: Cluster, rights: Rights, *, served: str, other: str) -> dict[str, dict[str, bool]]:
    """Question -> where -> yes. Where: `served`, `other` (a namespace that a namespaced operator doesn't serve), or
    `cluster` for what has no namespace."""

    def one(question: Question) -> tuple[str, dict[str, bool]]:
        if question.of_the_cluster:
            return question.text, {"cluster": _can(cluster, rights.user, question, None)}
        places = {"served": served, "other": other}
        return question.text, {word: _can(cluster, rights.user, question, name) for word, name in places.items()}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(pool.map(one, QUESTIONS))


def _can(cluster: Cluster, user: str, question: Question, namespace: str | None) -> bool:
    resource, _, part = question.resource.partition("/")
    where = ("-n", namespace) if namespace is not None else ()
    asked = ("auth", "can-i", question.verb, resource, f"--subresource={part}", f"--as={user}", *where)
    try:
        answer = cluster.kubectl(*asked)
    except ClusterError as error:  # kubectl answers "no" with exit code 1
        answer = str(error)
        if "exit code 1" not in answer:
            raise
    return answer.splitlines()[-1].strip() == "yes"
