"""A session of HTTP that is asked again while a server is busy or away, and what its faults say in words.

Law: knows HTTP; not who is asked, nor what for.
"""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ProtocolError
from urllib3.util import Retry


def session(*, attempts: int, backoff: float, connections: int = 10) -> requests.Session:
    """A session that repeats a request that can't be sent, or is answered by 429, 500, 502, 503 or 504.

    Args:
        attempts: how often a request is sent at most.
        backoff: seconds before the third attempt, twice as many before each further one.
        connections: how many to one host are kept open.
    """
    made = requests.Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(max_retries=retry(attempts, backoff), pool_maxsize=connections))
    return made


def retry(attempts: int, backoff: float) -> Retry:
    """The same for other clients over urllib3."""
    return Retry(
        total=attempts - 1,
        backoff_factor=backoff / 2,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,  # what is asked twice here harms nobody
        retry_after_max=60,  # a server may ask for hours, in which nobody would hear of us
    )


def cause(error: requests.RequestException) -> str:
    """The innermost words: those around them repeat the URL, and a signed one is a secret."""
    inner: Any = error.args[0] if error.args else error
    inner = getattr(inner, "reason", inner)
    reason = str(inner.args[0] if isinstance(inner, ProtocolError) else inner)
    return reason.rpartition("object at ")[2].partition(">: ")[2] or reason.rpartition(": ")[2]
