"""The API server, as a pass and the intake need it: read, apply, delete, write status, review a token.

Law: the only room that awaits the API server; it knows how, never why. Importing it loads no client: `cluster.client`
does that.
"""

from finetune_operator.cluster.errors import ClusterError, ClusterRefused, NotFound, WebhookUnavailable
from finetune_operator.cluster.protocol import Cluster, Speaker

__all__ = ["Cluster", "ClusterError", "ClusterRefused", "NotFound", "Speaker", "WebhookUnavailable"]
