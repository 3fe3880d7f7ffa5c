"""The images that the nodes hold: small ones, made of files of this machine.

Training pods get Python and its packages from this machine (see `tests/cluster/overlay.py`), and these need this
machine's C library. So the base is not a distribution's image but a shell and a few tools of this machine with their
libraries: 5 MB that are imported in no time, and no mirror is asked.
"""

from __future__ import annotations

import re
from pathlib import Path

from .binaries import MANIFESTS, PAUSE, TRAINING_OPERATOR
from .layout import Layout
from .oci import File, Image, write
from .process import command, program

PAUSE_IMAGE = "localhost/finetune-pause:1"
TRAINER_IMAGE = "localhost/finetune-trainer:test"
OPERATOR_IMAGE = "localhost/finetune-operator:test"
INIT_IMAGE = "docker.io/library/alpine:3.10"
"""What the training operator names for the init container of workers."""
USER = 1000
_TOOLS = ("dash", "cat", "date", "env", "getent", "head", "hostname", "id", "ls", "mkdir", "rm", "seq", "sleep")
_PATH = "PATH=/usr/local/bin:/usr/bin:/bin"
_OPERATOR = ["python", "-m", "finetune_operator"]
"""As operator/Dockerfile has it."""
# The init container loops until nslookup succeeds; busybox's and bind's fail when one search suffix is unknown.
_NSLOOKUP = b'#!/bin/sh\nexec getent ahosts "$1"\n'


def archive(layout: Layout, path: Path) -> None:
    """Write all images into one archive."""
    base = _base()
    shell = {"Env": [_PATH], "Cmd": ["/bin/sh"]}
    pause = {"pause": _executable(PAUSE.path(layout))}
    write(
        path,
        [
            Image(name=PAUSE_IMAGE, files=pause, config={"Entrypoint": ["/pause"]}),
            Image(name=training_operator_image(layout), files=_manager(layout)),
            Image(name=INIT_IMAGE, files=base, config=shell),
            Image(name=TRAINER_IMAGE, files=base, config=shell | {"User": f"{USER}:{USER}"}),
            Image(name=OPERATOR_IMAGE, files=base, config={"Env": [_PATH], "Entrypoint": _OPERATOR}),
        ],
    )


def training_operator_image(layout: Layout) -> str:
    """The image's name in upstream's manifest, which therefore needs no change."""
    manifests = (TRAINING_OPERATOR.folder(layout) / MANIFESTS).read_text()
    found = re.search(r"image: (\S+/training-operator:\S+)", manifests)  # parsing 3 MB of CRDs takes seconds
    assert found, "the training operator's manifests name no image"
    return found[1]


def _manager(layout: Layout) -> dict[str, File]:
    return {"manager": _executable(TRAINING_OPERATOR.path(layout)), "tmp": File(folder=True, mode=0o1777)}


def _base() -> dict[str, File]:
    """A root filesystem with merged /usr, a shell, a few tools and a user."""
    files = {
        "etc/passwd": File(content=f"root:x:0:0::/root:/bin/sh\ntrainer:x:{USER}:{USER}::/tmp:/bin/sh\n".encode()),
        "etc/group": File(content=f"root:x:0:\ntrainer:x:{USER}:\n".encode()),
        "etc/nsswitch.conf": File(content=b"passwd: files\ngroup: files\nhosts: files dns\n"),
        "tmp": File(folder=True, mode=0o1777),
        "usr/bin/sh": File(link="dash"),
        "usr/local/bin/nslookup": File(content=_NSLOOKUP, mode=0o755),
    }
    files |= {name: File(link=f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64")}
    for tool in map(program, _TOOLS):
        files[f"usr/bin/{Path(tool).name}"] = _executable(Path(tool))
        for library in re.findall(r"(/\S+) \(0x", command("ldd", tool)):
            files["usr/" + library.removeprefix("/usr").lstrip("/")] = _executable(Path(library))
    return files


def _executable(path: Path) -> File:
    return File(content=path.read_bytes(), mode=0o755)
