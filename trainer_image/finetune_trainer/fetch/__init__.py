"""A model, fetched from a hub, a store or a web server into a cache folder that jobs share.

Law: this room and no other writes the model cache; it knows files, sizes and checksums, not what is in them, and no
torch. A file counts when it has its name, a folder when `fetched.json` lies in it, which is written last. One process
at a time fetches a folder, by a lease that a dead holder loses. Secrets are sent to the host that they are for, and
are never written nor said.
"""

from __future__ import annotations

from finetune_trainer.fetch.credentials import Credentials
from finetune_trainer.fetch.errors import FetchError
from finetune_trainer.fetch.flow import fetch
from finetune_trainer.fetch.marker import Fetched
from finetune_trainer.fetch.progress import Progress
from finetune_trainer.fetch.settings import Settings

__all__ = ["Credentials", "FetchError", "Fetched", "Progress", "Settings", "fetch"]
