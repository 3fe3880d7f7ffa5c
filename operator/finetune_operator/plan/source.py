"""Models that are not here yet: where they come from, and where they will lie in the cache."""

from __future__ import annotations

from finetune_operator.spec import MODEL_SCHEMES, FineTuneJobSpec, parse_location

REMOTE = frozenset({"hf", "ms", "s3", "http", "https"})


def source_of(spec: FineTuneJobSpec) -> str | None:
    """What `finetune fetch` is to fetch; None for a model on a claim or in the image."""
    if spec.model is None or parse_location(spec.model.uri, MODEL_SCHEMES).scheme not in REMOTE:
        return None
    return f"{spec.model.uri}@{spec.model.revision}" if spec.model.revision else spec.model.uri


def fetched_folder(source: str) -> str:
    """Below the cache, as `finetune_trainer.fetch` names it; what the newest revision is, only the hub knows."""
    scheme, _, rest = source.partition("://")
    where, _, revision = rest.partition("@")
    kind = "http" if scheme == "https" else scheme
    return f"{kind}/{where.strip('/').replace(':', '_')}/{revision or 'REVISION'}"
