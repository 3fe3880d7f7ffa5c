"""kubectl as a function."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .layout import Layout
from .process import command


@dataclass(frozen=True, kw_only=True, slots=True)
class Kubectl:
    """Calls kubectl and returns what it prints."""

    program: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl.

        Raises:
            ClusterError: it failed; the message has its output.
        """
        return command(self.program, f"--kubeconfig={self.kubeconfig}", *arguments, stdin=stdin)

    def watch(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `kubectl get` with --watch; its output is a pipe of lines."""
        argv = [str(self.program), f"--kubeconfig={self.kubeconfig}", *arguments, "--watch"]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def apply(self, manifests: str, *arguments: str) -> None:
        """Apply manifests on the server's side: CRDs are too large for kubectl's annotation."""
        self("apply", "--server-side", "--force-conflicts", *arguments, "-f", "-", stdin=manifests)


def administrator(layout: Layout) -> Kubectl:
    """With all rights in the test cluster."""
    return Kubectl(program=layout.bin / "kubectl", kubeconfig=layout.kubeconfig)
