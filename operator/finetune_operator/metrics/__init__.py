"""What Prometheus and the kubelet's probes may ask: /metrics and /healthz.

Law: counts; decides nothing. One `Metrics` per program, with its own registry; no gauge outlives what it tells of.
"""

from finetune_operator.metrics.server import Metrics, app

__all__ = ["Metrics", "app"]
