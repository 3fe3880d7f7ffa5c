"""A bucket of any S3 store, through minio's client: it lists and signs, and files come from signed URLs.

Not boto3 or s3fs: botocore refuses the python-dateutil that the operator's kubernetes client asks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests
import urllib3

from finetune_trainer.fetch.checksums import Algorithm, Checksum
from finetune_trainer.fetch.credentials import Credentials, Identity
from finetune_trainer.fetch.errors import AccessDenied, FetchError, SourceDown, SourceNotFound
from finetune_trainer.fetch.listing import File, Listing
from finetune_trainer.fetch.origins.asking import TIMEOUT
from finetune_trainer.fetch.origins.origin import Request, nobody
from finetune_trainer.fetch.source import Source

if TYPE_CHECKING:
    from minio import Minio
    from minio.credentials.providers import Provider

_VALID = timedelta(hours=1)
"""Of a signed URL; it counts when a connection begins."""
_MD5 = re.compile(r"[0-9a-f]{32}")
_TOLD: tuple[tuple[str, Algorithm], ...] = (
    ("x-amz-checksum-sha256", "sha256"),
    ("x-amz-checksum-sha1", "sha1"),
    ("x-amz-checksum-crc32", "crc32"),
)
_WRONG_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "AuthFailure")
_CODE = re.compile(r"<Code>(\w+)</Code>")


class S3:
    """One folder of a bucket."""

    def __init__(self, source: Source, credentials: Credentials, retry: urllib3.Retry) -> None:
        self._source = source
        self._identity = credentials.s3_identity
        self._endpoint = credentials.s3_endpoint
        self._client = _client(source, credentials, retry)
        self._bucket, _, prefix = source.where.partition("/")
        self._prefix = f"{prefix}/"

    def listing(self) -> Listing:
        """All objects under the prefix, with sizes and ETags.

        Raises:
            FetchError: nothing is there, it may not be read, or the store does not answer.
        """
        with self._told():
            found = list(self._client.list_objects(self._bucket, prefix=self._prefix, recursive=True))
        files = [
            File(name=str(one.object_name).removeprefix(self._prefix), size=one.size or 0, validator=f'"{one.etag}"')
            for one in found
            if not str(one.object_name).endswith("/")
        ]
        if not files:
            raise SourceNotFound(f"{self._source}: the bucket {self._bucket} holds nothing under {self._prefix}")
        return Listing(revision=None, files=tuple(files))

    def examined(self, files: Sequence[File]) -> tuple[File, ...]:
        """With a checksum where the store kept one of the whole object."""
        with self._told(), ThreadPoolExecutor(8) as pool:
            return tuple(pool.map(self._examined, files))

    def request(self, file: File) -> Request:
        """A signed URL."""
        with self._told():
            url = self._client.get_presigned_url("GET", self._bucket, self._prefix + file.name, expires=_VALID)
        return Request(url=url, auth=nobody)

    def refusal(self, answer: requests.Response, file: File) -> FetchError:
        """From the code in the answer."""
        code = _CODE.search(answer.text)
        return self._refused(code[1] if code else str(answer.status_code), answer.reason, f": {file.name}")

    def _examined(self, file: File) -> File:
        headers: dict[str, str | list[str] | tuple[str]] = {"x-amz-checksum-mode": "ENABLED"}
        told = self._client.stat_object(self._bucket, self._prefix + file.name, extra_headers=headers)
        checksum = _checksum({name.lower(): value for name, value in (told.metadata or {}).items()})
        return File(name=file.name, size=file.size, checksum=checksum, validator=file.validator)

    @contextmanager
    def _told(self) -> Iterator[None]:
        from minio.error import InvalidResponseError, S3Error, ServerError

        try:
            yield
        except S3Error as error:
            raise self._refused(error.code or "", error.message or "", "") from error
        except (InvalidResponseError, ServerError) as error:
            raise SourceDown(f"{self._source}: {self._endpoint} does not answer as an S3 store does") from error
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise SourceDown(f"{self._source}: {self._endpoint} gives no answer: {_innermost(reason)}") from error
        except ValueError as error:  # minio's word for what it refuses before it asks
            raise FetchError(f"{self._source}: {error}") from error

    def _refused(self, code: str, words: str, what: str) -> FetchError:
        where = f"{self._source}{what}"
        if code in _WRONG_KEYS:
            return AccessDenied(f"{where}: {_WRONG[self._identity]} ({code})")
        if code in ("AccessDenied", "403"):
            return AccessDenied(f"{where}: {_DENIED[self._identity]}")
        if code == "NoSuchBucket":
            return SourceNotFound(f"{where}: {self._endpoint} has no bucket {self._bucket}; see AWS_ENDPOINT_URL")
        if code in ("NoSuchKey", "404"):
            return SourceNotFound(f"{where}: is not there")
        return FetchError(f"{where}: {self._endpoint} refuses it: {words} ({code})")


_WRONG: Mapping[Identity, str] = {
    "keys": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN is wrong or has expired",
    "role": "the store does not accept what this pod's role got from AWS_ROLE_ARN",
    "file": "the keys in AWS_SHARED_CREDENTIALS_FILE are wrong or have expired",
    "guest": "the store knows no guests; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}
_DENIED: Mapping[Identity, str] = {
    "keys": "the owner of AWS_ACCESS_KEY_ID may not list and read it (s3:ListBucket, s3:GetObject)",
    "role": "this pod's role may not list and read it (s3:ListBucket, s3:GetObject)",
    "file": "the profile of AWS_PROFILE may not list and read it (s3:ListBucket, s3:GetObject)",
    "guest": "is not public; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the pod a role",
}


def _client(source: Source, credentials: Credentials, retry: urllib3.Retry) -> Minio:
    try:
        from minio import Minio
    except ModuleNotFoundError as error:
        raise FetchError(f"{source}: needs the package minio; pip install minio") from error
    url = urlsplit(credentials.s3_endpoint)
    if url.scheme not in ("http", "https") or url.path.strip("/") or "@" in url.netloc:
        raise FetchError(
            f"{source}: AWS_ENDPOINT_URL is not the address of a store; write https://host or http://host:port"
        )
    is_aws = bool(url.hostname and url.hostname.endswith(".amazonaws.com"))
    return Minio(
        url.netloc,
        secure=url.scheme == "https",
        region=credentials.s3_region or (None if is_aws else "us-east-1"),  # other stores need some name to sign for
        credentials=_identity(credentials.s3_identity),
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=TIMEOUT[0], read=TIMEOUT[1]),
            retries=retry,
            ca_certs=requests.utils.DEFAULT_CA_BUNDLE_PATH,
        ),
    )


def _identity(identity: Identity) -> Provider | None:
    from minio.credentials.providers import AWSConfigProvider, EnvAWSProvider, IamAwsProvider

    match identity:
        case "keys":
            return EnvAWSProvider()
        case "role":
            return IamAwsProvider()
        case "file":
            return AWSConfigProvider()
        case "guest":
            return None


def _checksum(headers: Mapping[str, str]) -> Checksum | None:
    """Of the whole object: a checksum of its parts' checksums ends in their number. An ETag is the MD5 only of what
    was uploaded in one part, and not encrypted with a key of a service.
    """
    for name, algorithm in _TOLD:
        value = headers.get(name, "")
        if value and "-" not in value and headers.get("x-amz-checksum-type") != "COMPOSITE":
            return Checksum.of_base64(algorithm, value)
    etag = headers.get("etag", "").strip('"')
    if _MD5.fullmatch(etag) and headers.get("x-amz-server-side-encryption", "AES256") == "AES256":
        return Checksum("md5", etag)
    return None


def _innermost(reason: object) -> str:
    return str(reason).rpartition(": ")[2]
