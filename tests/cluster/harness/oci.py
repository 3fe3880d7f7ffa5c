"""Image archives without a registry: several images in one OCI archive with uncompressed layers."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_TYPE = "application/vnd.oci.image"


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One entry of a layer: a file, a link or a folder."""

    content: bytes = b""
    mode: int = 0o644
    link: str | None = None
    folder: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image of one layer."""

    name: str
    files: Mapping[str, File]
    config: Mapping[str, Any] = field(default_factory=dict)
    """Of the image's configuration: Cmd, Entrypoint, Env, User."""


def layer(files: Mapping[str, File]) -> bytes:
    """An uncompressed, reproducible tar; the names are relative to the root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, file in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.mode = file.mode
            entry.size = len(file.content)
            if file.link is not None:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
            elif file.folder:
                entry.type = tarfile.DIRTYPE
            tar.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()


def write(path: Path, images: Iterable[Image]) -> None:
    """Write an archive; containerd takes each image's name from an annotation of the index."""
    blobs: dict[str, bytes] = {}
    index = {"schemaVersion": 2, "manifests": [_manifest(image, blobs) for image in images]}
    entries = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    entries |= {f"blobs/sha256/{digest}": blob for digest, blob in blobs.items()}
    path.write_bytes(layer({name: File(content=content) for name, content in entries.items()}))


def _manifest(image: Image, blobs: dict[str, bytes]) -> dict[str, Any]:
    """Add an image's blobs and return its entry in the index."""
    content = _blob(blobs, f"{_TYPE}.layer.v1.tar", layer(image.files))
    config = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": dict(image.config),
        "history": [{"created_by": "tests/cluster/harness"}],
        "rootfs": {"type": "layers", "diff_ids": [content["digest"]]},
    }
    described = _blob(blobs, f"{_TYPE}.config.v1+json", json.dumps(config).encode())
    media_type = f"{_TYPE}.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": media_type, "config": described, "layers": [content]}
    entry = _blob(blobs, media_type, json.dumps(manifest).encode())
    return entry | {"annotations": {"io.containerd.image.name": image.name}}


def _blob(blobs: dict[str, bytes], media_type: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}
