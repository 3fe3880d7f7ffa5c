"""Tokens with other times, signed by the test cluster's own key: nobody waits an hour for one to expire."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def with_end(token: str, key: Path, seconds: float) -> str:
    """The token as if it had been made an hour earlier, and ended so many seconds from now.

    Args:
        token: a service account's, as the API server made it.
        key: the private key by which it signs.
        seconds: negative: it is over.
    """
    head, body, _ = token.split(".")
    now = int(time.time())
    claims = _decoded(body) | {"iat": now - 3600, "nbf": now - 3600, "exp": now + int(seconds)}
    signed = f"{head}.{_encoded(json.dumps(claims).encode())}"
    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    assert isinstance(private, rsa.RSAPrivateKey)
    signature = private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_encoded(signature)}"


def _decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
