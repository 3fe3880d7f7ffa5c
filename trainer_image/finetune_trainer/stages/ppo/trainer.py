"""PpoTrainer: each of its steps is a rollout and all that is learned from it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from finetune_trainer.collate import Batch, Collate, tokens
from finetune_trainer.config.preference import PreferenceKeys
from finetune_trainer.data import Stream
from finetune_trainer.losses.ppo import AdaptivePenalty, Moments
from finetune_trainer.stages.order import GlobalBatches, Order, Split
from finetune_trainer.stages.parts import Parts
from finetune_trainer.stages.ppo.experience import NOBODY, Answer, Experience, judge, passes
from finetune_trainer.stages.ppo.objective import ClippedPolicy
from finetune_trainer.stages.ppo.rollout import Rollouts
from finetune_trainer.stages.remembered import kept
from finetune_trainer.stages.valued import ValuedTrainer

Micro = Mapping[str, torch.Tensor]


class PpoTrainer(ValuedTrainer):
    """See the module and the package.

    transformers' loop sees one step of the optimiser for each rollout: the last one. Those before it are made when the
    loop asks for the step's batches.
    """

    objective: ClippedPolicy

    def __init__(  # noqa: PLR0913 - what the parts of the stage are
        self,
        parts: Parts,
        *,
        settings: PreferenceKeys,
        rollouts: Rollouts,
        objective: ClippedPolicy,
        collator: Collate,
        order: Order,
    ) -> None:
        self._settings = settings
        self._rollouts = rollouts
        self._memory = Memory(AdaptivePenalty(target=settings.ppo_target))
        self._earlier: torch.Tensor | float = 0.0
        super().__init__(parts, objective=objective, collator=collator, order=order)
        if not isinstance(self.rows, Stream):
            steps = self.args.gradient_accumulation_steps
            self._batches = WholeRollouts(len(self.rows), order, self._split(), batches=steps)
        self.add_callback(self._memory)

    def _next_step(
        self, epoch_iterator: Iterator[Micro], num_batches: int, device: torch.device
    ) -> tuple[list[Micro], torch.Tensor]:
        """Answer the next prompts, learn from the answers, and leave the last step of the optimiser to the loop."""
        prompts = [dict(batch) for batch in itertools.islice(epoch_iterator, num_batches)]
        experience = self._remember(self._play(prompts))
        self.objective.experience = experience
        *earlier, last = self._learnings(experience)
        self._passes = 1 + len(earlier)
        self._earlier = sum(self._learn(*self._share(experience, numbers, device)) for numbers in earlier)
        return self._share(experience, last, device)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """One micro batch; its share of the mean loss over the rollout's steps of the optimiser, and what is owed."""
        owed, self._earlier = self._earlier, 0.0
        return super().training_step(model, inputs, num_items_in_batch) + owed

    def _play(self, prompts: Sequence[Batch]) -> list[Answer]:
        """All ranks' answers, by place."""
        self._rollouts.prepare(self.accelerator)
        size, mine = self.args.per_device_train_batch_size, []
        with torch.no_grad(), self.compute_loss_context_manager():
            for batch, places in zip(prompts, self._places(prompts), strict=True):
                for start in range(0, len(places), size):
                    part = {name: value[start : start + size] for name, value in batch.items()}
                    step = self.state.global_step
                    mine += self._rollouts(self._prepare_inputs(part), step=step, places=places[start : start + size])
        everyone = itertools.chain.from_iterable(self._world.gather(mine))
        return sorted(everyone, key=lambda answer: answer.place)

    def _places(self, prompts: Sequence[Batch]) -> Iterator[range]:
        """Where this rank's prompts stand among those of the step: as `Split` hands them out."""
        split = self._split()
        for number, batch in enumerate(prompts):
            start = (number * split.ranks + split.rank) * split.batch_size
            yield range(start, start + len(batch["input_ids"]))

    def _remember(self, answers: Sequence[Answer]) -> Experience:
        """Judge the answers, and take them into account for the next ones."""
        memory, settings = self._memory, self._settings
        scores = torch.tensor([answer.score for answer in answers], dtype=torch.float64)
        divergence = torch.stack([answer.divergence.double().sum() for answer in answers])
        memory.scores = memory.scores.after(scores)
        normal = memory.scores.normalised(scores) if settings.ppo_score_norm else scores
        penalty = memory.penalty
        self._tell(answers, scores, divergence)
        memory.penalty = penalty.after(float(divergence.mean()), len(answers))
        return judge(answers, normal, penalty=penalty.value, whiten_rewards=settings.ppo_whiten_rewards)

    def _tell(self, answers: Sequence[Answer], scores: torch.Tensor, divergence: torch.Tensor) -> None:
        meter = self.objective.meter
        meter.add("reward", scores)
        meter.add("kl", divergence)
        meter.add("kl_coefficient", torch.tensor(self._memory.penalty.value))
        meter.add("response_length", torch.tensor([len(answer.logprobs) for answer in answers]))

    def _learnings(self, experience: Experience) -> list[list[int]]:
        args = self.args
        size = args.per_device_train_batch_size * args.gradient_accumulation_steps * self._world.size
        return passes(
            len(experience.answers),
            epochs=self._settings.ppo_epochs,
            size=size,
            seed=args.seed,
            step=self.state.global_step,
        )

    def _share(
        self, experience: Experience, numbers: Sequence[int], device: torch.device
    ) -> tuple[list[Micro], torch.Tensor]:
        """This rank's micro batches of a step of the optimiser, always as many, and its tokens over all ranks."""
        args = self.args
        split = dataclasses.replace(self._split(), batch_size=args.per_device_train_batch_size, drop_last=False)
        whole = split.batch_size * split.ranks * args.gradient_accumulation_steps
        filled = [*numbers, *[NOBODY] * (whole - len(numbers))]
        batches = [experience.batch(rows, self._rollouts.pad) for rows in split.batches(filled, blank=NOBODY)]
        mine = sum(map(self.objective.items, batches))
        items, seen = self._world.sum(mine, sum(map(tokens, batches)))
        self.state.num_input_tokens_seen += int(seen)
        count = items if args.average_tokens_across_devices else mine
        return list(batches), torch.tensor(max(1.0, count), device=device)

    def _learn(self, batches: Sequence[Micro], items: torch.Tensor) -> torch.Tensor | float:
        """A step of the optimiser, as transformers' loop makes it; the scheduler steps once for the rollout."""
        model, loss = self.model_wrapped, torch.zeros((), device=items.device)
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            self.accelerator.gradient_state._set_sync_gradients(last)
            together = last or self.is_deepspeed_enabled
            with contextlib.nullcontext() if together else self.accelerator.no_sync(model=model):
                loss = loss + self.training_step(model, dict(batch), items)
        if self.args.max_grad_norm:
            self.accelerator.clip_grad_norm_(model.parameters(), self.args.max_grad_norm)
        assert self.optimizer is not None
        self.optimizer.step()
        model.zero_grad()
        return loss

    def _split(self) -> Split:
        """A rank takes the prompts of `ppo_buffer_size` micro batches at once."""
        split = super()._split()
        return dataclasses.replace(split, batch_size=split.batch_size * self._settings.ppo_buffer_size)


class WholeRollouts(GlobalBatches):
    """As many micro batches in an epoch as make whole rollouts; blank prompts fill up the last one."""

    def __init__(self, rows: int, order: Order, split: Split, *, batches: int) -> None:
        """`batches`: of a rollout, on each rank."""
        super().__init__(rows, order, split)
        self._blank = rows
        self._in_rollout = batches

    def __iter__(self) -> Iterator[list[int]]:
        """See `GlobalBatches`."""
        yield from super().__iter__()
        for _ in range(len(self) - super().__len__()):
            yield [self._blank]

    def __len__(self) -> int:
        """Micro batches of prompts of this rank in an epoch."""
        return -(-super().__len__() // self._in_rollout) * self._in_rollout


class Memory(TrainerCallback, ExportableState):
    """What later rollouts know of earlier ones; kept in checkpoints, in trainer_state.json."""

    def __init__(self, penalty: AdaptivePenalty) -> None:
        self.penalty = penalty
        self.scores = Moments()

    def state(self) -> dict[str, Any]:
        """As transformers writes it."""
        return {"args": {}, "attributes": {"penalty": self.penalty.value, "scores": dataclasses.asdict(self.scores)}}

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 - transformers passes it
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - transformers passes it
        **kwargs: Any,  # noqa: ANN401, ARG002 - transformers passes it
    ) -> None:
        """Go on as the checkpoint was left."""
        saved = kept(state, self)
        self.penalty = dataclasses.replace(self.penalty, value=saved["penalty"])
        self.scores = Moments(**saved["scores"])
