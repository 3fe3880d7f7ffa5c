"""Protocols of those that hold models: Hugging Face, ModelScope, S3, a web server. One file for each.

Law: an origin asks its server what there is, says how a file is asked for and what a refusal means; it writes
nothing.
"""

from __future__ import annotations

from urllib3.util import Retry

from finetune_trainer.fetch.credentials import Credentials
from finetune_trainer.fetch.origins.asking import Asker
from finetune_trainer.fetch.origins.huggingface import HuggingFace
from finetune_trainer.fetch.origins.modelscope import ModelScope
from finetune_trainer.fetch.origins.origin import Origin, Request
from finetune_trainer.fetch.origins.s3 import S3
from finetune_trainer.fetch.origins.web import Web
from finetune_trainer.fetch.source import Source

__all__ = ["Asker", "Origin", "Request", "origin_of"]


def origin_of(source: Source, credentials: Credentials, asker: Asker, retry: Retry) -> Origin:
    """Who speaks the source's protocol. S3's client asks by itself, and repeats by `retry`.

    Raises:
        FetchError: the package that speaks it is not installed, or its address is no address.
    """
    match source.kind:
        case "hf":
            return HuggingFace(source, credentials.hf_endpoint, credentials.hf_token, asker)
        case "ms":
            return ModelScope(source, credentials.ms_endpoint, credentials.ms_token, asker)
        case "s3":
            return S3(source, credentials, retry)
        case "http" | "https":
            return Web(source, asker)
