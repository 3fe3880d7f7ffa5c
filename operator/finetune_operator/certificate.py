"""The intake's certificate: three files of a folder (a mounted Secret), read again when they change.

Law: reads files and nothing else; knows neither who serves nor who asks.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

logger = logging.getLogger(__name__)

CHAIN, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"
LOOK_SECONDS = 30.0
"""The kubelet takes up to a minute to bring a changed Secret."""


class Certificate:
    """What a server shows, and by what its clients know it.

    Attributes:
        context: for the server; connections that are made after a renewal see the new certificate.
        authority: ca.crt, PEM; None where the folder has none: clients trust a public authority already.
    """

    def __init__(self, folder: Path) -> None:
        """Read it.

        Raises:
            ValueError: a file is not there, or is none of its kind.
        """
        self._folder = folder
        self._known = self._files()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority: str | None = None
        self._load()

    def renew(self) -> bool:
        """Read the files again if they have changed; True: they had, and are good.

        Raises:
            ValueError: as the constructor; what was there before is served further.
        """
        found = self._files()
        if found == self._known:
            return False
        self._load()
        self._known = found
        return True

    async def keep(self) -> None:
        """Look again and again, for ever; what is wrong is told, and looked at again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if self.renew():
                    logger.info("the intake's certificate in %s was renewed", self._folder)
            except ValueError as error:
                logger.warning("%s; the intake goes on with the one before", error)

    def _files(self) -> tuple[bytes | None, ...]:
        return tuple(_content(self._folder / name) for name in (CHAIN, KEY, AUTHORITY))

    def _load(self) -> None:
        """Into a context of its own first: half a pair (one file is new) must not take the other's place."""
        chain, key, authority = (self._folder / name for name in (CHAIN, KEY, AUTHORITY))
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(chain, key)
            self.context.load_cert_chain(chain, key)
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(f"{self._folder}: {CHAIN} and {KEY} are no certificate and its key: {error}") from None
        self.authority = (_content(authority) or b"").decode().strip() or None


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None
