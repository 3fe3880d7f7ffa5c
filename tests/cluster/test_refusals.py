"""docs/refusals.md quotes what is said today."""

from __future__ import annotations

import json

import pytest
from tests.cluster import refusals
from tests.cluster.harness.layout import CHECKOUT
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster, SharedFolder

pytestmark = pytest.mark.cluster


def test_each_mistake_is_refused_in_the_words_of_the_page(
    machine_cluster: Cluster, operator: OperatorProcess, namespace: str, shared: SharedFolder
) -> None:
    kept = json.loads((CHECKOUT / "docs/refusals.json").read_text(encoding="utf-8"))
    said = refusals.answers(machine_cluster, operator, namespace)
    assert said == kept
    assert "taken" not in [answer["with"] for answer in said], "with the webhook, no mistake passes"
