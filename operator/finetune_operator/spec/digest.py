"""spec_hash: whether two jobs would make the same model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

from finetune_operator.spec.types import FineTuneJobSpec
from finetune_trainer.config import TrainConfig, dump

_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


def spec_hash(spec: FineTuneJobSpec, training: TrainConfig) -> str:
    """SHA-256, 16 hexadecimal digits, over model, data, training, output, nodes and processes per node.

    What the user said counts, not how it was written: 3 and 3.0, 1e-5 and "1e-5" are the same.
    """
    said = {
        "model": spec.model and {"uri": spec.model.uri, "revision": spec.model.revision},
        "datasets": [dataset.model_dump() for dataset in spec.datasets],
        "training": dump(training),
        "output": spec.storage.output and spec.storage.output.model_dump(),
        "nodes": spec.resources.nodes,
        "processesPerNode": spec.processes_per_node,
    }
    text = json.dumps(_plain(said), sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    """Numbers as YAML, JSON and the API server may bring them -> one form."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return _plain(float(value))
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
