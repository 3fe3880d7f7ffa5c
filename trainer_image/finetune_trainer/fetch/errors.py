"""Why a model could not be fetched, in words for people. `retryable`: another attempt goes on where this one ended."""

from __future__ import annotations

from finetune_trainer.failures import RunError


class FetchError(RunError):
    """A model that could not be fetched."""

    reason = "FetchFailed"


class SourceInvalid(FetchError):
    """The source is misspelt, or what it lists is not to be written to a disk."""

    reason = "SourceInvalid"


class SourceNotFound(FetchError):
    """There is no such model, revision or file."""

    reason = "ModelNotFound"


class AccessDenied(FetchError):
    """A token is missing or wrong, or its owner may not read this."""

    reason = "AccessDenied"


class SourceDown(FetchError):
    """The server does not answer, or went away in the middle."""

    reason = "SourceDown"
    retryable = True


class SourceChanged(FetchError):
    """A file was replaced while it was being fetched."""

    reason = "SourceChanged"
    retryable = True


class ChecksumWrong(FetchError):
    """What the server sends is not the file that it lists, twice."""

    reason = "ChecksumWrong"


class DiskFull(FetchError):
    """There is too little room in the cache."""

    reason = "DiskFull"


class CacheUnusable(FetchError):
    """The cache can't be written."""

    reason = "CacheUnusable"


class LeaseLost(FetchError):
    """This process stood still for so long that another one took over."""

    reason = "LeaseLost"
    retryable = True
