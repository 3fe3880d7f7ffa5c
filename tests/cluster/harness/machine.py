"""May this machine hold the cluster, and does it have the programs?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from .process import CGROUPS
from .waiting import ClusterError, tail

CONTROLLERS = ("cpu", "cpuset", "memory", "pids", "devices", "freezer", "blkio")
PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "openssl": "openssl",
    "nsenter": "util-linux",
}
"""Program -> Debian package; the CNI plugins come on top."""
CNI_PACKAGE = "containernetworking-plugins"
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}


def missing_rights() -> str | None:
    """Why this machine can't run kubelets, in one line; None when it can."""
    if os.geteuid() != 0:
        return "kubelets need root, and this user is not"
    effective = re.search(r"^CapEff:\s*(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    held = int(effective[1], 16) if effective else 0
    lacking = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if lacking:
        return f"root lacks {' and '.join(lacking)}"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "the kernel has no overlayfs"
    return _unusable_cgroups()


def _unusable_cgroups() -> str | None:
    absent = [name for name in CONTROLLERS if not (CGROUPS / name / "cgroup.procs").exists()]
    if absent:
        lacking = f"no cgroup v1 hierarchy {', '.join(absent)} under {CGROUPS}"
        return f"{lacking} (version 2 alone has not been tried; set KUBECONFIG to a cluster of yours)"
    probe = CGROUPS / "pids" / f"finetune-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        return f"cgroups are not writable: {error}"
    return None


def cni_plugins() -> Path:
    """The folder of the CNI plugins.

    Raises:
        ClusterError: there is none.
    """
    for folder in CNI_FOLDERS:
        if (folder / "bridge").exists():
            return folder
    raise ClusterError(f"no CNI plugins in {' or '.join(map(str, CNI_FOLDERS))}")


def missing_packages() -> list[str]:
    """The Debian packages whose programs are not there."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = [package for program, package in PACKAGES.items() if shutil.which(program, path=path) is None]
    with suppress(ClusterError):
        cni_plugins()
        return packages
    return [*packages, CNI_PACKAGE]


def install(packages: list[str], log: Path) -> None:
    """Install Debian packages, without starting their services.

    Raises:
        ClusterError: no apt-get, or it failed.
    """
    wanted = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise ClusterError(f"programs are missing and there is no apt-get; install what Debian calls {wanted}")
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    with log.open("ab") as output:
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            argv = ["apt-get", "-qq", *arguments]
            done = subprocess.run(argv, stdout=output, stderr=output, env=environment, check=False)
            if done.returncode:
                raise ClusterError(f"apt-get could not install {wanted}{tail(log)}")
