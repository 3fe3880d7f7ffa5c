"""SwanLab: LLaMA-Factory's swanlab_* keys, and a notice to Lark whose address and secret come by the environment."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from transformers import TrainerCallback

from finetune_trainer import atomic
from finetune_trainer.config import TrainConfig
from finetune_trainer.context import RunContext
from finetune_trainer.trackers.beginning import beginning
from finetune_trainer.trackers.said import said

PUBLIC = "swanlab_public_config.json"
"""LLaMA-Factory's file that tells where the run is to be seen."""
LARK_URL, LARK_SECRET = "SWANLAB_LARK_WEBHOOK_URL", "SWANLAB_LARK_SECRET"


def build(cfg: TrainConfig, context: RunContext) -> TrainerCallback:
    """SwanLab's own callback for transformers, in a run that we open."""
    from swanlab.integration.transformers import SwanLabCallback

    class Swan(SwanLabCallback):  # type: ignore[misc] # in here: the package is not everywhere
        """Opens the run with the keys' settings, and leaves its address in output_dir."""

        def setup(self, args: Any, state: Any, model: Any = None) -> None:  # noqa: ANN401 - SwanLab's signature
            """Begin the run.

            Raises:
                RunError: SwanLab refuses.
            """
            if state.is_world_process_zero and self._get_active_run() is None:
                with beginning("swanlab", instead="set SWANLAB_API_KEY, or swanlab_mode: local to keep the run here"):
                    run = _begin(cfg, context, [self, *_lark(os.environ.get(LARK_URL), os.environ.get(LARK_SECRET))])
                atomic.write(context.output_dir / PUBLIC, json.dumps(_public(run), indent=2) + "\n")
            super().setup(args, state, model)

        def finish(self) -> None:
            """Close the run, which sends the notice."""
            import swanlab

            if self._get_active_run() is not None:
                swanlab.finish()

    callback: TrainerCallback = Swan()
    return callback


def _begin(cfg: TrainConfig, context: RunContext, callbacks: list[Any]) -> Any:  # noqa: ANN401 - SwanLab's Run
    import swanlab

    keys = cfg.finetuning
    folder = keys.swanlab_logdir or os.environ.get("SWANLAB_LOG_DIR") or str(context.output_dir / "swanlog")
    return swanlab.init(
        project=keys.swanlab_project,
        workspace=keys.swanlab_workspace,
        name=keys.swanlab_run_name or cfg.training.run_name,
        mode=os.environ.get("SWANLAB_MODE") or keys.swanlab_mode,
        log_dir=folder,
        config=said(cfg),
        callbacks=callbacks,
    )


def _lark(url: str | None, secret: str | None) -> list[Any]:
    if not url:
        return []
    from swanlab.plugin.notification.lark import LarkCallback

    return [LarkCallback(webhook_url=url, secret=secret, language="en")]


def _public(run: Any) -> dict[str, Any]:  # noqa: ANN401 - SwanLab's Run, whose public part changed its name
    public = getattr(run, "public", None)
    if public is not None and hasattr(public, "json"):
        made: dict[str, Any] = public.json()
        return made
    made = {"mode": str(getattr(run, "mode", "")), "run_dir": str(getattr(run, "run_dir", ""))}
    for name in ("id", "url"):
        with contextlib.suppress(ValueError, AttributeError):  # a run that is kept here has no address
            made[name] = str(getattr(run, name))
    return made
