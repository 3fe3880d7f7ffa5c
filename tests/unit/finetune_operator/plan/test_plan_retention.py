"""What is left of a job that is over, and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finetune_operator import spec
from finetune_operator.observe import Frozen, Observed, ObservedAttempt, ObservedJob
from finetune_operator.plan import retention
from finetune_operator.spec import FineTuneJob
from finetune_trainer.records import Exported, Preparation

ENDED = datetime(2026, 1, 1, 12, tzinfo=UTC)
OVER = {"completionTime": "2026-01-01T12:00:00Z", "exportedModel": "/output/merged"}


def job(status: dict[str, Any] | None = None, **policy: Any) -> FineTuneJob:
    training = {"stage": "sft", "model_name_or_path": "/m", "dataset": "d", "template": "qwen", "output_dir": "out"}
    body = {"metadata": {"name": "j", "uid": "u"}, "spec": {"training": training, "runPolicy": policy}}
    return spec.parse({**body, "status": OVER if status is None else status})


PREPARED = ObservedJob(
    name="j-prepare",
    phase="Complete",
    found=Preparation(result="succeeded", reason="Prepared", message="", retryable=False),
)
MERGED = ObservedJob(
    name="j-export",
    phase="Complete",
    found=Exported(result="succeeded", reason="Exported", message="", retryable=False),
)
SEEN = Observed(
    attempts=(
        ObservedAttempt(number=1, leftovers=(("Pod", "j-1-master-0"), ("ConfigMap", "j-1"))),
        ObservedAttempt(number=2, leftovers=(("ConfigMap", "j-2"), ("PyTorchJob", "j-2"))),
    ),
    prepare=PREPARED,
    export=MERGED,
    frozen=Frozen(spec_hash="h", contract=1, image="i", nodes=1),
)
OF_ATTEMPTS = (("ConfigMap", "j-1"), ("PyTorchJob", "j-2"), ("ConfigMap", "j-2"))
OF_PREPARATION = (("ConfigMap", "j-prepare"), ("Job", "j-prepare"))
OF_EXPORT = (("Job", "j-export"),)


def test_each_outcome_has_its_own_time() -> None:
    wanted = job(keepSucceededSeconds=60, keepFailedSeconds=0)
    assert retention.due(wanted, failed=False) == ENDED + timedelta(seconds=60)
    assert retention.due(wanted, failed=True) == ENDED
    assert retention.due(job(keepFailedSeconds=0), failed=False) is None


@pytest.mark.parametrize("status", [{}, {"completionTime": "yesterday"}])
def test_nothing_is_due_before_status_says_that_it_is_over(status: dict[str, Any]) -> None:
    assert retention.due(job(status, keepSucceededSeconds=0), failed=False) is None


def test_the_longest_time_that_the_door_lets_in_is_a_date() -> None:
    assert retention.due(job(keepSucceededSeconds=2_147_483_647), failed=False) is not None


def test_all_that_is_done_goes_and_pods_go_with_their_pytorchjob() -> None:
    assert retention.children(job(), SEEN) == (*OF_ATTEMPTS, *OF_PREPARATION, *OF_EXPORT)


@pytest.mark.parametrize(
    "change",
    [
        {"phase": "Failed"},
        {"phase": "Active"},
        {"deleting": True},
        {"found": None},
    ],
)
def test_a_job_that_failed_or_goes_on_stays(change: dict[str, Any]) -> None:
    seen = replace(SEEN, prepare=replace(PREPARED, **change), export=replace(MERGED, **change))
    assert retention.children(job(), seen) == OF_ATTEMPTS


def test_a_preparation_stays_until_it_was_used_and_an_export_until_it_was_told() -> None:
    assert retention.children(job(), replace(SEEN, frozen=None)) == (*OF_ATTEMPTS, *OF_EXPORT)
    untold = job({"completionTime": OVER["completionTime"]})
    assert retention.children(untold, SEEN) == (*OF_ATTEMPTS, *OF_PREPARATION)
