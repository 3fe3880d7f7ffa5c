"""What an attempt held, and what of its time has to be repeated."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from finetune_operator import spec
from finetune_operator.observe import ObservedAttempt, ObservedPod, ObservedQueue
from finetune_operator.plan import cost
from finetune_operator.plan.judge import Verdict
from finetune_operator.spec import FineTuneJob, Recorded
from finetune_trainer.records import Outcome, Progress

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = START + timedelta(hours=1)


def job(gpus: int = 8, pods: dict[str, str] | None = None) -> FineTuneJob:
    training = {"stage": "sft", "model_name_or_path": "/m", "dataset": "d", "template": "qwen", "output_dir": "out"}
    resources = {"nodes": 2, "gpusPerNode": gpus}
    parsed = spec.parse(
        {"metadata": {"name": "j", "uid": "u"}, "spec": {"training": training, "resources": resources}}
    )
    return replace(parsed, recorded=Recorded(pods=pods or {}))


def pod(rank: int, node: str | None = "node") -> ObservedPod:
    return ObservedPod(name=f"j-1-{rank}", uid=f"uid-{rank}", node_rank=rank, node=node)


LIVE = ObservedAttempt(number=1, exists=True, created=START, started=START, pods=(pod(0), pod(1)))


@pytest.mark.parametrize(
    ("pods", "remembered", "gpus"),
    [
        ((pod(0), pod(1)), {}, 16),
        ((pod(0), pod(1, node=None)), {"j-1-1": "uid-1"}, 8),
        ((pod(0),), {"j-1-0": "uid-0", "j-1-1": "uid-1"}, 16),
        ((), {"j-1-0": "uid-0", "j-1-1": "uid-1"}, 16),
        ((), {}, 0),
    ],
)
def test_gpus_are_those_of_pods_that_had_a_node(
    pods: tuple[ObservedPod, ...], remembered: dict[str, str], gpus: int
) -> None:
    assert cost.gpus(job(pods=remembered), replace(LIVE, pods=pods)) == gpus


def test_a_job_on_cpus_holds_none() -> None:
    assert cost.gpus(job(gpus=0), LIVE) == 0


HELD = (
    replace(LIVE, suspended=True),
    replace(LIVE, queue=ObservedQueue(workload="w", queue="q", state="Evicted")),
)


@pytest.mark.parametrize("held", HELD)
def test_what_a_queue_holds_takes_and_loses_nothing(held: ObservedAttempt) -> None:
    assert cost.gpus(job(), held) == 0
    assert cost.lost_seconds(held, Verdict(reason="DeadlineExceeded", message=""), None, NOW) == 0


def lost(reason: str = "PodLost", *, saved: datetime | None = None, made: int = 5, **outcome: Any) -> int:
    values = {"reason": reason, "message": "", "retryable": True, "attempt": 1, "node_rank": 0, "spec_hash": "h"}
    said = Outcome(**{**values, **outcome}) if outcome else None
    progress = Progress(time=0, phase="training", step=made, checkpoint_time=saved.timestamp() if saved else None)
    return cost.lost_seconds(LIVE, Verdict(reason=reason, message="", outcome=said), progress, NOW)


def test_all_is_lost_without_a_checkpoint() -> None:
    assert lost() == 3600
    assert cost.lost_seconds(LIVE, Verdict(reason="PodLost", message=""), None, NOW) == 3600
    created = replace(LIVE, started=None, created=NOW - timedelta(seconds=90))
    assert cost.lost_seconds(created, Verdict(reason="PodLost", message=""), None, NOW) == 90


@pytest.mark.parametrize(
    ("saved", "seconds"),
    [
        (NOW - timedelta(minutes=10), 600),
        (START - timedelta(days=1), 3600),  # an earlier attempt's
        (NOW + timedelta(seconds=5), 0),  # by another clock
    ],
)
def test_what_came_after_the_last_checkpoint_is_lost(saved: datetime, seconds: int) -> None:
    assert lost(saved=saved) == seconds


def test_success_loses_nothing() -> None:
    assert lost("Succeeded") == 0


def test_who_stops_saves() -> None:
    assert lost("Stopped", result="stopped", step=9, checkpoint_step=9) == 0
    assert lost("Stopped", result="stopped", step=9, checkpoint_step=4) == 3600
    assert lost("Hang", result="failed", step=9, checkpoint_step=9) == 3600, "it stood still after its checkpoint"
    assert lost("Suspended", made=1) == 0
    assert lost("Suspended", made=0) == 3600, "there is nothing to save yet"
