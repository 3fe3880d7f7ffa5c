"""PPO: the model answers prompts, and learns from the scores of its answers.

Source: LLaMA-Factory's train/ppo on trl 0.9.6's PPOTrainer, which no later trl has. What differs from them:

- a step does not depend on how its global batch is split: chance is drawn for each prompt by itself, whitening, score
  norms and the penalty go over all answers of the step, losses are means over all tokens of an optimiser step (trl:
  over each micro batch, on each rank by itself);
- an answer whose probability has grown tenfold is left out by itself (trl leaves out its whole micro batch);
- what trl draws, expects and compares with dropout, is computed without it;
- checkpoints can be resumed.

Steps count as there: one step is one rollout of batch x accumulation x ppo_buffer_size prompts on each rank, and
ppo_epochs x ppo_buffer_size steps of the optimiser under one learning rate. So max_steps, save_steps, logging_steps
and warmup count rollouts; an epoch sees every prompt once, also those of a last rollout that is not full. The logged
loss is the mean over the optimiser's steps, the gradient norm that of the last one.
"""

from __future__ import annotations

from finetune_trainer.collate import PromptCollator
from finetune_trainer.config import TrainConfig
from finetune_trainer.model import reference, value_head
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.ppo.objective import ClippedPolicy
from finetune_trainer.stages.ppo.rollout import Rollouts
from finetune_trainer.stages.ppo.sampling import Sampler
from finetune_trainer.stages.ppo.scoring import scorer
from finetune_trainer.stages.ppo.trainer import PpoTrainer
from finetune_trainer.template import stop_token_ids

__all__ = ["build"]


def build(cfg: TrainConfig, parts: Parts) -> PpoTrainer:
    """A trainer that generates, scores, and learns from the answers.

    Raises:
        ModelNotFound: the reference or the reward model is not there.
        RunError: the reward model has no value head, or one that does not fit.
    """
    pad = parts.tokenizer.pad_token_id
    assert isinstance(pad, int), "the template's fix-ups have set it"
    stops = stop_token_ids(parts.tokenizer, parts.data.recipe.template)
    value_head.attach(parts.model, cfg.model)
    rollouts = Rollouts(
        policy=parts.model,
        sampler=Sampler(cfg.generating, stops=stops, pad=pad, seed=parts.arguments.seed),
        scorer=scorer(cfg, parts),
        reference=reference(cfg, parts.tokenizer, parts.model, device=parts.device),
        pad=pad,
    )
    return PpoTrainer(
        parts,
        settings=cfg.finetuning,
        rollouts=rollouts,
        objective=ClippedPolicy(),
        collator=PromptCollator(pad_token_id=pad),
        order=parts.order(cfg),
    )
