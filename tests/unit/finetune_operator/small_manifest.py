"""The smallest manifest that is accepted, with changes; and what `parse` says of it."""

from __future__ import annotations

from typing import Any

import pytest

from finetune_operator.spec import FineTuneJob, SpecInvalid, parse


def manifest(**spec: Any) -> dict[str, Any]:
    small = {
        "model": {"uri": "hf://HuggingFaceTB/SmolLM2-135M-Instruct"},
        "datasets": [{"name": "identity"}],
        "training": {"stage": "sft"},
        "storage": {"output": {"claimName": "runs"}},
    }
    return {"metadata": {"name": "job"}, "spec": {key: value for key, value in (small | spec).items() if value != {}}}


def refused(body: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecInvalid) as caught:
        parse(body)
    return [str(violation) for violation in caught.value.violations]


def trained(**spec: Any) -> FineTuneJob:
    return parse(manifest(**spec))
