"""Where a model or a data set lies: the forms of `uri`, and the claims that a job names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from finetune_operator.spec.types import FineTuneJobSpec

Scheme = Literal["hf", "ms", "s3", "gs", "http", "https", "pvc", "path"]
_FORMS: dict[Scheme, str] = {
    "hf": "hf://org/name",
    "ms": "ms://org/name",
    "s3": "s3://bucket/file",
    "gs": "gs://bucket/file",
    "http": "http://host/folder",
    "https": "https://host/folder",
    "pvc": "pvc://claim/path",
    "path": "an absolute path in the image",
}
MODEL_SCHEMES: tuple[Scheme, ...] = ("hf", "ms", "s3", "http", "https", "pvc", "path")
DATASET_SCHEMES: tuple[Scheme, ...] = ("hf", "ms", "s3", "gs", "pvc", "path")
_LATER = frozenset({"gs", "http", "https", "oci"})
"""Schemes that are meant to work one day."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_CLAIM_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """A `uri`, taken apart."""

    scheme: Scheme
    name: str = ""
    """org/name at a hub, the bucket, or the claim's name."""
    path: str = ""
    """Inside the bucket or the claim, relative and without `..`; or the absolute path in the image."""


def parse_location(uri: str, schemes: tuple[Scheme, ...]) -> Location:
    """Take a `uri` apart.

    Raises:
        ValueError: none of `schemes`, or malformed; says what to write instead.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator and uri.startswith("/"):
        return Location(scheme="path", path=_clean(uri))
    for known in schemes:
        if scheme == known and separator:
            return _take_apart(known, rest, uri)
    allowed = ", ".join(_FORMS[known] for known in schemes[:-1]) + f" or {_FORMS[schemes[-1]]}"
    if scheme in _LATER and separator:
        raise ValueError(f"{scheme}:// is not supported yet; write {allowed}")
    raise ValueError(f"must be {allowed}, not {uri}")


def _take_apart(scheme: Scheme, rest: str, uri: str) -> Location:
    if scheme in ("hf", "ms"):
        if not _HUB_NAME.fullmatch(rest):
            raise ValueError(f"must be {_FORMS[scheme]}, not {uri}")
        return Location(scheme=scheme, name=rest)
    if scheme in ("http", "https"):
        return _web(scheme, rest, uri)
    root, _, path = rest.partition("/")
    if not _CLAIM_NAME.fullmatch(root) or (scheme != "pvc" and not path):
        raise ValueError(f"must be {_FORMS[scheme]}, not {uri}")
    return Location(scheme=scheme, name=root, path=_clean(path.lstrip("/")))


def _web(scheme: Scheme, rest: str, uri: str) -> Location:
    """A folder on a web server; a secret in an address would be read by everybody who may read the job."""
    host, _, path = rest.partition("/")
    if not host or not path or "?" in rest or "#" in rest:
        raise ValueError(f"must be {_FORMS[scheme]}, not {uri.partition('?')[0]}")
    if "@" in host:
        raise ValueError("must not hold a password: put a netrc file into a Secret, and its path into NETRC")
    return Location(scheme=scheme, name=host, path=_clean(path))


def claims(spec: FineTuneJobSpec) -> dict[str, tuple[str, ...]]:
    """Every claim that a job names -> the fields that name it, for observing and for the checks at the door."""
    named: dict[str, tuple[str, ...]] = {}
    for claim, path in _claims(spec):
        named[claim] = (*named.get(claim, ()), path)
    return named


def _claims(spec: FineTuneJobSpec) -> Iterator[tuple[str, str]]:
    if spec.storage.output:
        yield spec.storage.output.claim_name, "spec.storage.output"
    if spec.storage.cache:
        yield spec.storage.cache.claim_name, "spec.storage.cache"
    if spec.model and (model := parse_location(spec.model.uri, MODEL_SCHEMES)).scheme == "pvc":
        yield model.name, "spec.model.uri"
    for index, dataset in enumerate(spec.datasets):
        if dataset.uri and (source := parse_location(dataset.uri, DATASET_SCHEMES)).scheme == "pvc":
            yield source.name, f"spec.datasets[{index}].uri"


def _clean(path: str) -> str:
    """Without doubled or trailing slashes and `.`; refuses `..`."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"must not contain .., as {path} does")
    return ("/" if path.startswith("/") else "") + "/".join(parts)
