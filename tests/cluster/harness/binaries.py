"""The cluster's programs, built once from their Go modules and cached by what goes into them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .layout import CHECKOUT, Layout
from .process import command
from .waiting import ClusterError

SOURCES = CHECKOUT / "tests/cluster/binaries"
# One setting of CGO_ENABLED and -trimpath for all: a change compiles the world again.
FLAGS = ("-trimpath",)
ENVIRONMENT = {"CGO_ENABLED": "0"}
KUBERNETES_PARTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
"""Names under which the one Kubernetes program is called."""
MANIFESTS = "manifests.yaml"
"""The training operator's and Kueue's, beside their programs: the module cache may be cleaned."""
STAGES = "stages.yaml"
"""kwok's, beside its program: without them it ends at once."""
_STAGE_FOLDERS = ("node/fast", "node/heartbeat-with-lease", "pod/fast")


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """One Go program."""

    name: str
    module: str
    """Folder with its go.mod, under `binaries/`."""
    package: str = "."
    ldflags: str = "-s -w"
    inside: str | None = field(default=None, repr=False)
    """A dependency in whose own folder, and with whose own go.sum, it is built. Left out of the key: go.mod has it."""
    manifests: tuple[str, str] | None = field(default=None, repr=False)
    """A dependency, and its folder with the kustomization that installs the program."""

    @property
    def source(self) -> Path:
        return SOURCES / self.module

    def key(self) -> str:
        """Hash of the module's files and the flags."""
        digest = hashlib.sha256(repr((self, FLAGS, ENVIRONMENT, platform.machine())).encode())
        for file in sorted(self.source.iterdir()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()[:12]

    def folder(self, layout: Layout) -> Path:
        return layout.cache / f"bin-{self.name}-{self.key()}"

    def path(self, layout: Layout) -> Path:
        return self.folder(layout) / self.name


def required(module: str, dependency: str) -> str:
    """The version of a dependency that a module's go.mod names."""
    text = (SOURCES / module / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require )?{re.escape(dependency)} (v\S+)", text, re.MULTILINE)
    assert found, f"{module}/go.mod does not require {dependency}"
    return found[1]


def _kubernetes_ldflags() -> str:
    """Without these the server calls itself v0.0.0, and clients that look at its version go wrong."""
    version = required("kubernetes", "k8s.io/kubernetes")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    values = {
        "component-base/version.gitVersion": version,
        "component-base/version.gitMajor": major,
        "component-base/version.gitMinor": minor,
        "client-go/pkg/version.gitVersion": version,
    }
    return " ".join(["-s -w", *(f"-X k8s.io/{name}={value}" for name, value in values.items())])


def _helm_ldflags() -> str:
    """Without these it takes every cluster that it can't ask for Kubernetes 1.20."""
    minor = required("helm", "k8s.io/client-go").split(".")[1]
    package = "helm.sh/helm/v3"
    versions = {"k8sVersionMajor": "1", "k8sVersionMinor": minor}
    values = {f"pkg/{room}.{name}": value for room in ("chartutil", "lint/rules") for name, value in versions.items()}
    values["internal/version.version"] = required("helm", package)
    return " ".join(["-s -w", *(f"-X {package}/{name}={value}" for name, value in values.items())])


KUBERNETES = Program(name="k8s-all", module="kubernetes", ldflags=_kubernetes_ldflags())
TRAINING_OPERATOR = Program(
    name="training-operator",
    module="training-operator",
    package="github.com/kubeflow/training-operator/cmd/training-operator.v1",
    manifests=("github.com/kubeflow/training-operator", "manifests/overlays/standalone"),
)
COREDNS = Program(name="coredns", module="coredns")
PAUSE = Program(name="pause", module="pause")
HELM = Program(name="helm", module="helm", package="helm.sh/helm/v3/cmd/helm", ldflags=_helm_ldflags())
PROGRAMS = (KUBERNETES, TRAINING_OPERATOR, COREDNS, PAUSE, HELM)
"""What the cluster needs, and Helm."""
KUEUE = Program(
    name="kueue",
    module="kueue",
    package="./cmd/kueue",
    inside="sigs.k8s.io/kueue",
    manifests=("sigs.k8s.io/kueue", "config/default"),
)
"""For few tests: ten minutes on two cores."""
KWOK = Program(name="kwok", module="kwok", package="sigs.k8s.io/kwok/cmd/kwok")
"""For measuring scale: nodes and pods of which nothing runs."""
HEALTH = Program(name="health", module="health")
"""What kstatus, Flux and Argo CD say of objects; no part of a cluster."""


def ensure(layout: Layout, say: Callable[[str], None], programs: Sequence[Program] = PROGRAMS) -> None:
    """Build what the cache lacks.

    Raises:
        ClusterError: no Go, or a build failed.
    """
    layout.cache.mkdir(parents=True, exist_ok=True)
    with (layout.cache / "bin.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for program in programs:
            if not program.path(layout).exists():
                _build(program, layout, say)
            if program.manifests is not None and not (program.folder(layout) / MANIFESTS).exists():
                _write_manifests(program, *program.manifests, layout)
            if program is KWOK and not (KWOK.folder(layout) / STAGES).exists():
                _write_stages(layout)


def link(layout: Layout) -> None:
    """Make the cluster's folder of programs, kubectl among them."""
    layout.bin.mkdir(parents=True, exist_ok=True)
    targets = {part: KUBERNETES.path(layout) for part in KUBERNETES_PARTS}
    targets |= {program.name: program.path(layout) for program in (TRAINING_OPERATOR, COREDNS, HELM)}
    for name, target in targets.items():
        (layout.bin / name).unlink(missing_ok=True)
        (layout.bin / name).symlink_to(target)


def _build(program: Program, layout: Layout, say: Callable[[str], None]) -> None:
    if shutil.which("go") is None:
        raise ClusterError(
            "the test cluster is built with Go: install 1.21 or newer (it fetches the version it needs)"
        )
    folder = program.folder(layout)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{program.name}.new"
    say(f"building {program.name} (once; minutes when nothing is compiled yet)")
    argv = ["go", "build", "-v", *FLAGS, "-ldflags", program.ldflags, "-o", str(draft), program.package]
    source = program.source if program.inside is None else _module(program, program.inside)
    _run_with_progress(program.name, argv, source, say)
    draft.replace(program.path(layout))


def _run_with_progress(name: str, argv: list[str], folder: Path, say: Callable[[str], None]) -> None:
    """Run `go build -v`, which prints each package that it compiles; tell every 15 s how far it is."""
    start = told = time.monotonic()
    lines: list[str] = []
    environment = {**os.environ, **ENVIRONMENT}
    with subprocess.Popen(argv, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as build:
        assert build.stderr is not None
        for line in build.stderr:
            lines.append(line)
            if time.monotonic() - told > 15:
                told = time.monotonic()
                say(f"  {name}: {len(lines)} lines of go build, {told - start:.0f} s, now {line.strip()}")
    if build.returncode:
        raise ClusterError(f"go build of {name} failed:\n{''.join(lines[-30:])}")
    say(f"  {name}: built in {time.monotonic() - start:.0f} s")


def _write_manifests(program: Program, dependency: str, overlay: str, layout: Layout) -> None:
    """A program's manifests, as upstream wrote them."""
    folder = _module(program, dependency) / overlay
    rendered = command(KUBERNETES.path(layout), "kubectl", "kustomize", folder)
    (program.folder(layout) / MANIFESTS).write_text(rendered)


def _write_stages(layout: Layout) -> None:
    """kwok's own stages: nodes are ready, pods run at once, end at once if they are of a Job, and are gone at once."""
    stages = _module(KWOK, "sigs.k8s.io/kwok") / "kustomize/stage"
    files = [file for folder in _STAGE_FOLDERS for file in sorted((stages / folder).glob("[!k]*.yaml"))]
    (KWOK.folder(layout) / STAGES).write_text("\n---\n".join(file.read_text() for file in files))


def _module(program: Program, dependency: str) -> Path:
    """Where Go keeps a dependency of a program's module."""
    command("go", "-C", program.source, "mod", "download", dependency)
    return Path(command("go", "-C", program.source, "list", "-m", "-f", "{{.Dir}}", dependency))
