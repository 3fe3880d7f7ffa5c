"""Pure: the checksums that sources tell, computed while bytes arrive."""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass
from typing import Literal, Protocol, Self

Algorithm = Literal["sha256", "sha1", "git-blob", "md5", "crc32"]


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file must amount to."""

    algorithm: Algorithm
    value: str
    """In hexadecimal, small letters."""

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`.

        Raises:
            ValueError: it is none.
        """
        algorithm, _, value = text.partition(":")
        match algorithm:
            case "sha256" | "sha1" | "git-blob" | "md5" | "crc32":
                return cls(algorithm, value)
            case _:
                raise ValueError(f"{text!r} is no checksum")

    @classmethod
    def of_base64(cls, algorithm: Algorithm, value: str) -> Self:
        """As S3 writes them.

        Raises:
            ValueError: it is not base64.
        """
        return cls(algorithm, base64.b64decode(value, validate=True).hex())


class Digest(Protocol):
    """A checksum in the making."""

    def update(self, data: bytes, /) -> None:
        """More bytes."""

    def hexdigest(self) -> str:
        """What they amount to so far."""


def digest(algorithm: Algorithm, size: int) -> Digest:
    """A checksum of a file of `size` bytes, none of which has been seen. Git's begins with the size."""
    match algorithm:
        case "sha256":
            return hashlib.sha256()
        case "sha1":
            return hashlib.sha1(usedforsecurity=False)
        case "git-blob":
            return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        case "md5":
            return hashlib.md5(usedforsecurity=False)
        case "crc32":
            return _Crc32()


class _Crc32:
    """zlib's, with hashlib's methods."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"
