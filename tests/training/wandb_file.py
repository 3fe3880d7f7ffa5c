"""Reads W&B's offline file: wandb 0.31 has its own reader in a binary only, its messages are in the package.

The file is LevelDB's log: after 7 bytes of header, blocks of 32 KiB with pieces of [crc 4, length 2, kind 1, data].
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER, WHOLE, LAST = 32768, 7, 1, 4


def records(path: Path) -> Iterator[Any]:
    """The file's records, as W&B's own messages."""
    from wandb.proto import wandb_internal_pb2 as messages

    for data in _pieces(path.read_bytes()):
        record = messages.Record()
        record.ParseFromString(data)
        yield record


def _pieces(content: bytes) -> Iterator[bytes]:
    assert content.startswith(b":W&B")
    at, begun = HEADER, b""
    while at + HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        begun += content[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (WHOLE, LAST):
            yield begun
            begun = b""
