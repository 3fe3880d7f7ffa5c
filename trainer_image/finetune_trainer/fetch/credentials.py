"""Where the hubs are, and what opens them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

HUGGING_FACE = "https://huggingface.co"
MODELSCOPE = "https://www.modelscope.cn"
AWS = "https://s3.amazonaws.com"
Identity = Literal["keys", "role", "file", "guest"]
"""Who asks an S3 store: keys in variables, a pod's or container's role, a file of AWS's tools, or nobody."""
_IDENTITIES: Mapping[Identity, tuple[str, ...]] = {
    "keys": ("AWS_ACCESS_KEY_ID",),
    "role": (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    "file": ("AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE"),
}
"""The variables that tell, in the order in which AWS's own tools look."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Addresses and secrets; a secret is empty where there is none, and does not show when this is printed.

    A web server's name and password come from a netrc file (NETRC), which `requests` reads.
    """

    hf_endpoint: str = HUGGING_FACE
    hf_token: str = field(default="", repr=False)
    ms_endpoint: str = MODELSCOPE
    ms_token: str = field(default="", repr=False)
    s3_endpoint: str = AWS
    s3_region: str | None = None
    s3_identity: Identity = "guest"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The variables that the hubs' own clients read. AWS's secrets are read later: a role's are renewed."""
        said = {name: value.strip() for name, value in environment.items()}
        domain = said.get("MODELSCOPE_DOMAIN")
        return cls(
            hf_endpoint=(said.get("HF_ENDPOINT") or HUGGING_FACE).rstrip("/"),
            hf_token=said.get("HF_TOKEN", ""),
            ms_endpoint=(said.get("MODELSCOPE_ENDPOINT") or _with_scheme(domain) or MODELSCOPE).rstrip("/"),
            ms_token=said.get("MODELSCOPE_API_TOKEN", ""),
            s3_endpoint=said.get("AWS_ENDPOINT_URL_S3") or said.get("AWS_ENDPOINT_URL") or AWS,
            s3_region=said.get("AWS_REGION") or said.get("AWS_DEFAULT_REGION") or None,
            s3_identity=next((kind for kind, names in _IDENTITIES.items() if any(map(said.get, names))), "guest"),
        )


def _with_scheme(domain: str | None) -> str | None:
    return f"https://{domain}" if domain and "://" not in domain else domain
