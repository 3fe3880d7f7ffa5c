"""Steps that DeepSpeed leaves out."""

from torch import nn

from finetune_trainer.stages.skipped import Skipped


class Engine(nn.Module):
    """What of DeepSpeed's engine is looked at."""

    def __init__(self, *, fp16: bool = False, skipped: int = 0) -> None:
        super().__init__()
        self.skipped_steps, self._fp16 = skipped, fp16

    def fp16_enabled(self) -> bool:
        return self._fp16


def test_a_step_that_is_left_out_is_told_with_its_number() -> None:
    engine, skipped = Engine(skipped=3), Skipped()
    skipped.begin(engine)
    assert skipped.words(engine, 7) is None, "the checkpoint's own count is the run's before"
    engine.skipped_steps += 1
    skipped.begin(engine)
    told = skipped.words(engine, 8)
    assert told is not None
    assert told.startswith("the gradient is not finite")
    assert "up to step 8" in told
    assert "left out 1 step." in told


def test_fp16_looks_for_its_scale_by_leaving_steps_out() -> None:
    engine, skipped = Engine(fp16=True), Skipped()
    skipped.begin(engine)
    engine.skipped_steps += 2
    assert skipped.words(engine, 2) is None


def test_a_model_without_deepspeed_leaves_none_out() -> None:
    plain, skipped = nn.Linear(1, 1), Skipped()
    skipped.begin(plain)
    assert skipped.words(plain, 1) is None
