"""Posts progress.json to the operator, in Kubeflow's status protocol (kubeflow/trainer: pkg/statusserver)."""

from __future__ import annotations

import json
import logging
import ssl
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from finetune_trainer.records import Progress, to_kubeflow

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0
TIMEOUT_SECONDS = 5.0


class Poster:
    """A thread that posts whenever progress.json changed, at most every 5 s, and once more at the end.

    A post that fails is tried again with the next one. Each kind of failure is told once: the training does not
    depend on the operator being there. Of an https:// url the server's name and certificate are checked.
    """

    def __init__(
        self,
        url: str,
        token_file: Path | None,
        source: Path,
        interval: float = INTERVAL_SECONDS,
        ca_file: Path | None = None,
    ) -> None:
        self._url, self._token_file, self._source, self._interval = url, token_file, source, interval
        self._ca_file = ca_file
        self._posted: str | None = None
        self._told: set[str] = set()
        self._closing = Event()
        self._direct: urllib.request.OpenerDirector | None = None
        self._thread = Thread(target=self._run, name="post", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            self._post_news()

    def close(self) -> None:
        """Post the last word and end; takes at most two timeouts."""
        self._closing.set()
        self._thread.join(timeout=TIMEOUT_SECONDS)
        if not self._thread.is_alive():
            self._post_news()

    def _post_news(self) -> None:
        if not self._source.exists():
            return
        try:
            text = self._source.read_text()
            if text != self._posted:
                self._post(Progress.from_json(text))
                self._posted = text
        except urllib.error.HTTPError as error:
            self._tell_once(f"HTTP {error.code} {error.reason}")
        except (OSError, ValueError) as error:
            self._tell_once(f"{type(error).__name__}: {error}")

    def _post(self, progress: Progress) -> None:
        body = to_kubeflow(progress)
        body["trainerStatus"]["lastUpdatedTime"] = datetime.fromtimestamp(progress.time, UTC).isoformat()
        headers = {"Content-Type": "application/json"}
        if self._token_file is not None:
            headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"  # the kubelet renews it
        data = json.dumps(body).encode()
        request = urllib.request.Request(self._url, data, headers, method="POST")  # noqa: S310 - the operator's own URL
        try:
            self._opener().open(request, timeout=TIMEOUT_SECONDS).close()
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLError):
                self._direct = None  # the file of certificates may be another one next time
            raise

    def _opener(self) -> urllib.request.OpenerDirector:
        """Without a proxy, for the cluster is behind none; it trusts the certificates of the file alone."""
        if self._direct is None:
            trusted = ssl.create_default_context(cafile=self._ca_file)
            handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
            self._direct = urllib.request.build_opener(*handlers)
        return self._direct

    def _tell_once(self, failure: str) -> None:
        if failure not in self._told:
            self._told.add(failure)
            log.warning("progress is not reported to %s (training goes on): %s", self._url, failure)
