"""Our operator as a process of this machine, with the rights that it has in a cluster and no others."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from .harness.images import TRAINER_IMAGE
from .harness.layout import CHECKOUT
from .harness.process import TREE
from .harness.waiting import until
from .session import Cluster

NAMESPACE = "finetune-system"
ACCOUNT = "finetune-operator"
STOP_LIMIT = 60
_JOIN_AND_RUN = 'echo $$ > "$0"/cgroup.procs && exec "$@"'


class OperatorProcess:
    """One operator; it can be stopped, killed and started again.

    Args:
        cluster: what it serves.
        folder: for its kubeconfig.
        server: where it finds the API server, when that is another place than kubectl's.
        second: it may run beside another one, and logs elsewhere.
        environment: what its process has besides.

    Attributes:
        log: what it prints, appended over restarts.
        intake_url: how pods reach it; None when they can't.
        health_url: where it shows /healthz and /metrics to this machine.
    """

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        account: str = f"{NAMESPACE}:{ACCOUNT}",
        *,
        server: str | None = None,
        second: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Not started yet. Its ServiceAccount is `namespace:name`; the harness's has the plain manifests' rights."""
        self._cluster, self._account, self._server, self._second = cluster, account, server, second
        self._besides = dict(environment or {})
        self._kubeconfig = folder / "operator.kubeconfig"
        self._lock_file = (cluster.layout.state if cluster.layout else folder) / "operator.lock"
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, str] = {}
        self._intake, self._health = free_ports(2)
        self.log = cluster.logs / f"finetune-operator{'-second' if second else ''}.log"
        self.intake_url = f"http://{cluster.host}:{self._intake}" if cluster.host else None
        self.health_url = f"http://127.0.0.1:{self._health}"

    @property
    def pid(self) -> int | None:
        """Its process id; None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, settings: Mapping[str, Any] | None = None) -> None:
        """Start it and wait until it's healthy; of two sessions on one cluster, one waits for the other's end.

        Args:
            settings: fields of `Settings` that differ from the tests' usual ones.

        Raises:
            ClusterError: it ended, or is not healthy in time; the message has its log's end.
        """
        assert self.pid is None, "it runs already"
        if not self._second:
            self._lock_file.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._lock_file.open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._settings = self._environment(settings or {})
        self._write_kubeconfig()
        self._spawn()
        until("the operator", self.healthy, alive=lambda: self.pid is not None, log=self.log)

    def crash(self) -> None:
        """SIGKILL, and a start as a kubelet's, which is not waited for."""
        assert self._process is not None, "it was never started"
        self._process.kill()
        self._process.wait(STOP_LIMIT)
        self._spawn()

    def healthy(self) -> bool:
        """Its liveness probe's answer.

        Raises:
            OSError: there is none, or it is no.
        """
        with urllib.request.urlopen(f"{self.health_url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)

    def ensure(self, settings: Mapping[str, Any] | None = None) -> None:
        """Have it run, with these settings."""
        if self.pid is not None and self._settings == self._environment(settings or {}):
            return
        self.stop()
        self.start(settings)

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: it can't say goodbye."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)
            self._process.wait(STOP_LIMIT)
        if self._lock:
            self._lock.close()
        self._process = self._lock = None

    def _spawn(self) -> None:
        argv = [sys.executable, "-m", "finetune_operator"]
        if self._cluster.layout:  # so that `down` finds it when this process is killed
            cgroup = TREE / "host/system/finetune-operator"
            cgroup.mkdir(parents=True, exist_ok=True)
            argv = ["sh", "-c", _JOIN_AND_RUN, str(cgroup), *argv]
        plain = {name: value for name, value in os.environ.items() if not name.startswith("FINETUNE_")}
        paths = {"PYTHONPATH": f"{CHECKOUT / 'operator'}:{CHECKOUT / 'trainer_image'}"}
        environment = plain | paths | self._settings | {"KUBECONFIG": str(self._kubeconfig)} | self._besides
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)

    def _environment(self, settings: Mapping[str, Any]) -> dict[str, str]:
        repository, _, tag = TRAINER_IMAGE.rpartition(":")
        usual = {
            "image_repository": repository,
            "image_tag": tag,
            "allow_host_path": True,
            "intake_url": self.intake_url,
            "intake_bind": f"0.0.0.0:{self._intake}",
            "health_bind": f"127.0.0.1:{self._health}",
            "backoff_seconds": 1,
            "progress_seconds": 1,
        }
        fields = {**usual, **settings}
        return {f"FINETUNE_OPERATOR_{name.upper()}": json.dumps(value) for name, value in fields.items()}

    def _write_kubeconfig(self) -> None:
        """The administrator's kubeconfig with the token of the operator's ServiceAccount in it."""
        kubectl = self._cluster.kubectl
        config = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        namespace, _, name = self._account.partition(":")
        token = kubectl("-n", namespace, "create", "token", name, "--duration=24h")
        config["users"][0]["user"] = {"token": token}
        if self._server is not None:
            config["clusters"][0]["cluster"] = {"server": self._server}
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(json.dumps(config))


def free_ports(count: int) -> list[int]:
    """Ports that nothing of this machine listens at."""
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in sockets]
    for server in sockets:
        server.close()
    return ports
