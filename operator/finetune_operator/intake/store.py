"""What the pods said last, and when it was last written down."""

from __future__ import annotations

from datetime import datetime

from finetune_operator.names import Key
from finetune_operator.observe import Posted


class ProgressStore:
    """The newest accepted post of each job, in memory: a restart loses it until the next post, seconds later."""

    def __init__(self) -> None:
        self._posts: dict[Key, Posted] = {}
        self._written: dict[Key, datetime] = {}

    def put(self, key: Key, posted: Posted) -> bool:
        """Keep a post; False if a newer attempt of the same job has spoken already."""
        known = self._posts.get(key)
        if known is not None and known.job_uid == posted.job_uid and known.attempt > posted.attempt:
            return False
        self._posts[key] = posted
        return True

    def get(self, key: Key) -> Posted | None:
        """The newest post of a job."""
        return self._posts.get(key)

    def written(self, key: Key, now: datetime) -> None:
        """The job's status was written, with its progress."""
        self._written[key] = now

    def wait(self, key: Key, seconds: float, now: datetime) -> float:
        """Seconds until progress alone is worth another write of the status, of which it gets one in `seconds`."""
        last = self._written.get(key)
        return 0.0 if last is None else max(0.0, seconds - (now - last).total_seconds())

    def forget(self, key: Key) -> None:
        """The job is gone."""
        self._posts.pop(key, None)
        self._written.pop(key, None)
