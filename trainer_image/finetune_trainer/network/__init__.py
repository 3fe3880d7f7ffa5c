"""How fast the nodes reach each other, tried before anything is loaded: a slow or deaf one is named, not waited for.

Law: `links` is pure; `probe` sends bytes that mean nothing, over the connections that gradients will take. Neither
knows models, data or configurations.
"""

from __future__ import annotations

from finetune_trainer.network.links import Findings, Link, findings
from finetune_trainer.network.probe import NetworkDeaf, probe

__all__ = ["Findings", "Link", "NetworkDeaf", "findings", "probe"]
"""What `train` and the tests use."""
