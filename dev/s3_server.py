"""A real S3 server for tests, moto's: `python -m dev.s3_server` installs it in a folder of its own.

It needs botocore, which refuses the python-dateutil that kubernetes asks for, so that it can't be one of the
dependencies. It lies in `${XDG_CACHE_HOME:-~/.cache}/finetune-operator/moto-<version>`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dev.environment import cache_root

VERSION = "5.2.5"
REQUIREMENTS = (
    f"moto[s3]=={VERSION}",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "boto3==1.44.5",
    "python-dateutil==2.9.0.post0",
)


def folder() -> Path:
    """The installed packages; installed now where they are not."""
    target = cache_root() / f"moto-{VERSION}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=".moto-"))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(draft)]
        subprocess.run([*pip, *REQUIREMENTS], check=True)
        try:
            draft.rename(target)
        except OSError:  # another process was sooner
            shutil.rmtree(draft)
    return target


@contextlib.contextmanager
def running(*, checks_keys: bool = False) -> Iterator[str]:
    """The address of a server that is up, empty, and ends with the block.

    Args:
        checks_keys: refuse requests that no known key has signed, from the first on.

    Raises:
        RuntimeError: it ended at once.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    environment = {**os.environ, "PYTHONPATH": str(folder()), "PYTHONSAFEPATH": "1"}
    if checks_keys:
        environment["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(server, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    while server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError("moto's server ended at once; see python -m moto.server")


if __name__ == "__main__":
    print(folder())
