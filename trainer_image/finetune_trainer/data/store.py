"""The cache on disk: converted rows and tokens under names that say what they were made from.

Law: knows files and keys, not roles or templates. A file appears whole or not at all: ranks may share the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

_BATCH = 1000


def key(*parts: object) -> str:
    """A name for what is made from these parts (JSON values, or what prints the same in every process)."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def rows(path: Path, make: Iterable[Mapping[str, Any]], schema: pa.Schema, *, reuse: bool) -> Dataset:
    """The rows of `path`, memory-mapped; made and written first if they aren't there."""
    from datasets import Dataset

    if not (reuse and path.exists()):
        _write(path, make, schema)
    return Dataset.from_file(str(path))


def _write(path: Path, make: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    import pyarrow as pa

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file, pa.ipc.new_stream(file, schema) as stream:
            batch: list[Mapping[str, Any]] = []
            for row in make:
                batch.append(row)
                if len(batch) == _BATCH:
                    stream.write_batch(pa.RecordBatch.from_pylist(batch, schema))
                    batch = []
            stream.write_batch(pa.RecordBatch.from_pylist(batch, schema))
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)
