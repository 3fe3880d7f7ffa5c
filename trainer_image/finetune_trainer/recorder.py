"""Who asks from outside gets this rank's last collectives: torch's own recorder, over a socket in the run folder.

Law: starts and ends that server; knows neither who asks nor when. A thread of torch answers, so a rank that hangs in a
collective answers too; one whose process is stopped does not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch.distributed.elastic import control_plane

from finetune_trainer import records
from finetune_trainer.context import RunContext

LONGEST_PATH = 100
"""Of a socket: Linux takes 107 bytes, macOS 103."""


@contextmanager
def answering(context: RunContext) -> Iterator[None]:
    """Inside the `with`, the supervisor may ask; nobody does without a run folder."""
    with ExitStack() as stack:
        if context.run_dir is not None:
            path = str(context.run_dir / records.RECORDER_SOCKET.format(local_rank=context.place.local_rank))
            if len(path.encode()) > LONGEST_PATH:
                sys.stderr.write(f"no flight recorder: {path} is too long for a socket\n")
            else:
                os.environ[control_plane.TORCH_WORKER_SERVER_SOCKET] = path
                server = control_plane.worker_main()
                assert server is not None, "torch types it as what may fail: it raises then"
                stack.enter_context(server)
        yield
