"""`make images`: the images of operator and trainer, with buildah, on a machine without a registry or docker.

The base is a Debian made by debootstrap. Archives for `ctr images import` and `docker load`, and buildah's layers, lie
outside the checkout (`${XDG_CACHE_HOME:-~/.cache}/finetune-operator/images`), named by what goes into them: a second
run does nothing. Standard library only; needs root, and buildah, runc and debootstrap from Debian.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finetune-operator" / "images"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CONTEXT = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
TOOLS = ("buildah", "runc", "debootstrap")
FROM_HOST = ("/etc/pip.conf", "/etc/ssl/certs")
"""How this machine reaches its package index: mounted while an image is built, never part of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image, and where it is described."""

    name: str
    dockerfile: str
    target: str | None = None

    def key(self, base: str) -> str:
        """Names the image's content."""
        digest = hashlib.sha256(f"{base} {self}".encode())
        for path in (ROOT / ".dockerignore", *sources()):
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:12]

    def archive(self, base: str) -> Path:
        """The finished image as one file."""
        return CACHE / f"{self.name.replace(':', '-')}-{self.key(base)}.tar"


IMAGES = {
    "operator": Image(name=f"finetune-operator:{VERSION}", dockerfile="operator/Dockerfile"),
    "trainer": Image(name=f"finetune-trainer:{VERSION}", dockerfile="trainer_image/Dockerfile", target="current"),
    "legacy": Image(name=f"finetune-trainer:{VERSION}-legacy", dockerfile="trainer_image/Dockerfile", target="legacy"),
}


def sources() -> Iterator[Path]:
    """Every file that the Dockerfiles can copy, in a fixed order."""
    for part in CONTEXT:
        path = ROOT / part
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in files if file.is_file() and "__pycache__" not in file.parts)


def buildah(*arguments: str | Path, quiet: bool = False) -> str:
    """Run buildah on storage of our own; its standard output.

    Raises:
        CalledProcessError: it failed; what it said is on standard error.
    """
    storage = ["--root", CACHE / "storage", "--runroot", CACHE / "run", "--storage-driver", "overlay"]
    command = ["buildah", *map(str, storage), *map(str, arguments)]
    stderr = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=stderr, text=True).stdout.strip()


def debian() -> str:
    """The name of a minimal Debian with Python in buildah's storage, made where it is missing."""
    name = f"localhost/finetune-base:{SUITE}-{hashlib.sha256(PACKAGES.encode()).hexdigest()[:8]}"
    if buildah("images", "--quiet", "--filter", f"reference={name}"):
        return name
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        rootfs = Path(folder) / "rootfs"
        debootstrap = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(rootfs)]
        subprocess.run(debootstrap, check=True, stdout=subprocess.DEVNULL)
        for useless in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
            shutil.rmtree(rootfs / useless, ignore_errors=True)
        container = buildah("from", "scratch")
        buildah("copy", "--quiet", container, rootfs, "/")
        buildah("commit", "--quiet", "--rm", container, name)
    return name


def build(image: Image, base: str) -> Path:
    """Build an image and write its archive, unless it is there; archives of earlier contents go."""
    archive = image.archive(base)
    if archive.exists():
        return archive
    mounts = [f"--volume={path}:{path}:ro" for path in FROM_HOST if Path(path).exists()]
    target = [f"--target={image.target}"] if image.target else []
    # runc because crun refuses hybrid cgroups; the limits because runc may not raise them without CAP_SYS_RESOURCE
    runtime = [
        "--runtime=runc",
        "--isolation=oci",
        "--network=host",
        "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=1024:1024",
    ]
    options = ["--layers", f"--build-arg=BASE={base}", f"--file={ROOT / image.dockerfile}", f"--tag={image.name}"]
    print(buildah("bud", *runtime, *mounts, *target, *options, ROOT), file=sys.stderr)
    draft = archive.with_suffix(".new")
    draft.unlink(missing_ok=True)
    buildah("push", "--quiet", image.name, f"docker-archive:{draft}:{image.name}")
    for old in CACHE.glob(f"{image.name.replace(':', '-')}-????????????.tar"):
        old.unlink()
    return draft.rename(archive)


def main() -> None:
    """Build what is asked for and print name, size, seconds and file of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"{', '.join(IMAGES)}; default: operator, trainer")
    parser.add_argument("--base", help="an image to build on instead of a debootstrap of our own, e.g. a CUDA image")
    arguments = parser.parse_args()
    if unknown := set(arguments.images) - set(IMAGES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(IMAGES)}")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        parser.error(
            f"not found: {', '.join(missing)}; on Debian: apt install --no-install-recommends {' '.join(TOOLS)}"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    base = arguments.base or debian()
    for name in arguments.images or ("operator", "trainer"):
        started = time.monotonic()
        archive = build(IMAGES[name], base)
        size, seconds = archive.stat().st_size / 1e6, time.monotonic() - started
        print(f"{IMAGES[name].name:32} {size:7.0f} MB {seconds:5.0f} s  {archive}", flush=True)


if __name__ == "__main__":
    main()
