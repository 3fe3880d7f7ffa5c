"""The intake's certificate: shown, known by its authority, renewed while the server runs; over real TLS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientConnectorCertificateError, ClientSession, TCPConnector, web
from aiohttp.test_utils import TestServer
from tests.certificates import Authority

from finetune_operator.certificate import Certificate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Authority("first").write(tmp_path, "localhost")
    return tmp_path


@pytest.fixture
async def url(folder: Path) -> AsyncIterator[tuple[Certificate, str]]:
    certificate = Certificate(folder)
    application = web.Application()
    application.router.add_get("/", _answer)
    server = TestServer(application, scheme="https")
    await server.start_server(ssl=certificate.context)
    async with server:
        yield certificate, f"https://localhost:{server.port}/"


async def _answer(_request: web.Request) -> web.Response:
    return web.Response(text="here")


async def ask(url: str, authority: str) -> str:
    """A new connection that trusts this authority alone."""
    trusted = ssl.create_default_context(cadata=authority)
    async with ClientSession(connector=TCPConnector(ssl=trusted)) as session, session.get(url) as answer:
        return await answer.text()


async def test_who_knows_the_authority_trusts_it_and_nobody_else(url: tuple[Certificate, str]) -> None:
    certificate, address = url
    assert certificate.authority is not None
    assert await ask(address, certificate.authority) == "here"
    with pytest.raises(ClientConnectorCertificateError):
        await ask(address, Authority("another").text)


async def test_a_renewed_certificate_is_shown_without_a_restart(url: tuple[Certificate, str], folder: Path) -> None:
    certificate, address = url
    old = certificate.authority
    assert old is not None
    assert not certificate.renew(), "nothing has changed"
    Authority("second").write(folder, "localhost")
    assert certificate.renew()
    assert certificate.authority not in {None, old}
    assert await ask(address, certificate.authority or "") == "here"
    with pytest.raises(ClientConnectorCertificateError):
        await ask(address, old)


async def test_half_a_renewal_leaves_what_was_there(url: tuple[Certificate, str], folder: Path) -> None:
    certificate, address = url
    old = certificate.authority
    other = folder / "other"
    other.mkdir()
    Authority("second").write(other, "localhost")
    (folder / "tls.crt").write_bytes((other / "tls.crt").read_bytes())
    with pytest.raises(ValueError, match=r"tls.crt and tls.key are no certificate and its key"):
        certificate.renew()
    assert certificate.authority == old
    assert await ask(address, old or "") == "here"
    (folder / "tls.key").write_bytes((other / "tls.key").read_bytes())
    (folder / "ca.crt").unlink()
    assert certificate.renew()
    assert certificate.authority is None, "a public authority, which pods trust already"


def test_without_files_it_says_which_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)):
        Certificate(tmp_path)
