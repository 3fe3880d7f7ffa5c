import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from finetune_trainer import checkpoints, records
from finetune_trainer.checkpoints import Keeper
from finetune_trainer.context import Place, RunContext
from finetune_trainer.distributed import World
from finetune_trainer.failures import CheckpointInvalid, Fenced, OutputNotEmpty
from finetune_trainer.records import CheckpointMark, Completion


def context(output_dir: Path, **changes: object) -> RunContext:
    job = RunContext(output_dir=output_dir, uid="mine", spec_hash="hash", attempt=2, place=Place())
    return dataclasses.replace(job, **changes)  # type: ignore[arg-type]


def make(output_dir: Path, step: int, *, uid: str | None = "mine", optimizer: bool = True, ranks: int = 1) -> Path:
    """A checkpoint as transformers leaves it; `uid` None leaves it unmarked."""
    folder = output_dir / f"checkpoint-{step}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trainer_state.json").write_text("{}")
    if optimizer:
        (folder / "optimizer.pt").touch()
    if uid is not None:
        mark = CheckpointMark(uid=uid, spec_hash="hash", attempt=1, step=step, world_size=ranks)
        (folder / records.CHECKPOINT_MARK).write_text(mark.to_json())
    return folder


def keeper(run: RunContext, limit: int | None = None) -> Keeper:
    return Keeper(context=run, world=World(), limit=limit)


def test_the_latest_complete_one_is_resumed_from_by_its_number(tmp_path: Path) -> None:
    make(tmp_path, 9)
    expected = make(tmp_path, 10)
    make(tmp_path, 12, uid=None)
    make(tmp_path, 14, optimizer=False)
    assert checkpoints.resume_from(context(tmp_path), None) == expected


def test_a_later_attempt_of_an_overwriting_job_takes_only_its_own(tmp_path: Path) -> None:
    make(tmp_path, 50, uid="an earlier job")
    run = context(tmp_path, overwrite_output_dir=True)
    assert checkpoints.resume_from(run, None) is None
    mine = make(tmp_path, 5)
    assert checkpoints.resume_from(run, None) == mine
    assert checkpoints.resume_from(run, "/elsewhere/checkpoint-3") == mine, "what was named speaks about attempt 1"


@pytest.mark.shows("resume_from_checkpoint", "overwrite_output_dir")
def test_attempt_one_follows_llamafactory(tmp_path: Path) -> None:
    latest = make(tmp_path / "out", 5, uid="another")
    named = make(tmp_path / "elsewhere", 3, uid=None)
    first = context(tmp_path / "out", attempt=1)
    anew = dataclasses.replace(first, overwrite_output_dir=True)
    assert checkpoints.resume_from(first, None) == latest
    assert checkpoints.resume_from(first, str(named)) == named
    assert checkpoints.resume_from(anew, None) is None
    assert checkpoints.resume_from(anew, str(named)) == named


@pytest.mark.parametrize("said", [None, "/elsewhere/checkpoint-3"])
def test_pods_of_attempt_one_that_a_queue_brings_back_go_on(tmp_path: Path, said: str | None) -> None:
    make(tmp_path, 50, uid="an earlier job")
    mine = make(tmp_path, 5)
    first = context(tmp_path, attempt=1, overwrite_output_dir=True)
    assert checkpoints.resume_from(first, said) == mine
    by_hand = dataclasses.replace(first, uid="", spec_hash="")
    assert checkpoints.resume_from(by_hand, None) is None, "nobody evicts a run by hand: it is to be overwritten"


def test_a_named_folder_must_be_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointInvalid, match=r"resume_from_checkpoint: .* is not a checkpoint"):
        checkpoints.resume_from(context(tmp_path, attempt=1), str(tmp_path))


def test_a_finished_result_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").touch()
    first = context(tmp_path, attempt=1)
    with pytest.raises(OutputNotEmpty, match="overwrite_output_dir: true"):
        checkpoints.resume_from(first, None)
    assert checkpoints.resume_from(dataclasses.replace(first, overwrite_output_dir=True), None) is None


def test_ranks_are_known_by_the_mark_or_counted_by_their_random_numbers(tmp_path: Path) -> None:
    assert checkpoints.look_at(make(tmp_path, 5, ranks=4)).ranks == 4
    theirs = make(tmp_path, 6, uid=None)
    assert checkpoints.look_at(theirs).ranks is None
    for rank in range(3):
        (theirs / f"rng_state_{rank}.pth").touch()
    assert checkpoints.look_at(theirs).ranks == 3
    alone = make(tmp_path, 7, uid=None)
    (alone / "rng_state.pth").touch()
    assert checkpoints.look_at(alone).ranks == 1


@pytest.mark.parametrize(
    ("file", "kind"), [("optimizer.pt", "plain"), ("latest", "deepspeed"), ("optimizer_0", "fsdp")]
)
def test_what_wrote_an_optimiser_is_known_by_its_file(tmp_path: Path, file: str, kind: str) -> None:
    folder = make(tmp_path, 5, optimizer=False)
    assert checkpoints.look_at(folder).kind is None
    (folder / file).touch()
    assert checkpoints.look_at(folder).kind == kind


def test_the_mark_says_the_batch(tmp_path: Path) -> None:
    run = dataclasses.replace(keeper(context(tmp_path)), global_batch=8, rows_per_rank=4)
    run.claim()
    run.open(3)
    make(tmp_path, 3, uid=None)
    run.commit(3, best=None)
    mark = checkpoints.found(tmp_path)[0].mark
    assert mark is not None
    assert (mark.global_batch, mark.rows_per_rank) == (8, 4)


@pytest.mark.shows("save_total_limit")
def test_commit_marks_and_rotates_but_never_what_is_not_ours(tmp_path: Path) -> None:
    make(tmp_path, 1, uid="another")
    make(tmp_path, 2, uid=None)
    run = keeper(context(tmp_path), limit=2)
    run.claim()
    for step in (3, 4, 5):
        run.open(step)
        make(tmp_path, step, uid=None)
        run.commit(step, best=None)
    assert [one.step for one in checkpoints.found(tmp_path)] == [1, 2, 4, 5]
    assert run.last_step == 5


def test_rotation_spares_the_best_and_the_latest(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        make(tmp_path, step)
    found = checkpoints.found(tmp_path)
    spared = checkpoints.obsolete(found, limit=1, uid="mine", best=tmp_path / "checkpoint-1")
    assert [one.step for one in spared] == [2]


def test_of_older_ones_one_for_each_period_stays(tmp_path: Path) -> None:
    """A checkpoint each ten seconds, two are kept, and beyond these one for each half minute."""
    here: list[checkpoints.Checkpoint] = []
    for step in range(1, 13):
        mark = CheckpointMark(uid="mine", spec_hash="", attempt=1, step=step, world_size=1, time=1000.0 + 10 * step)
        here.append(checkpoints.Checkpoint(path=tmp_path / str(step), step=step, mark=mark, kind="plain", ranks=1))
        gone = checkpoints.obsolete(here, limit=2, uid="mine", best=tmp_path / "6", period=30)
        here = [one for one in here if one not in gone]
    assert [one.step for one in here] == [1, 4, 6, 7, 10, 12]


def test_writing_over_a_complete_checkpoint_unmarks_it_first(tmp_path: Path) -> None:
    folder = make(tmp_path, 3)
    run = keeper(context(tmp_path))
    run.claim()
    run.open(3)
    assert checkpoints.look_at(folder).mark is None


def test_an_attempt_clears_what_its_own_job_left_half_written_and_nothing_else(tmp_path: Path) -> None:
    other = keeper(context(tmp_path, uid="another"))
    other.claim()
    other.open(4)
    make(tmp_path, 5, uid=None)
    before = keeper(context(tmp_path))
    before.claim()
    before.open(6)
    before.commit(6, best=None)
    before.open(7)
    make(tmp_path, 7, uid=None)
    (tmp_path / ".finetune" / "removed" / "checkpoint-3").mkdir(parents=True)
    keeper(context(tmp_path, attempt=3)).claim()
    assert [one.step for one in checkpoints.found(tmp_path)] == [4, 5, 6]
    assert not (tmp_path / "checkpoint-6" / records.CHECKPOINT_OPENED).exists()
    assert not (tmp_path / ".finetune" / "removed").exists(), "what a rotation was removing when it was killed"


def test_two_attempts_may_delete_the_same_at_the_same_time(tmp_path: Path) -> None:
    old, new = keeper(context(tmp_path, attempt=1)), keeper(context(tmp_path, attempt=2))
    removed = tmp_path / ".finetune" / "removed"
    for number in range(500):
        (removed / f"checkpoint-{number}").mkdir(parents=True)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda one: one.delete(), [old, new]))
    old.delete()
    assert not removed.exists()


def test_an_attempt_that_lost_the_volume_commits_nothing(tmp_path: Path) -> None:
    old, new = keeper(context(tmp_path, attempt=2)), keeper(context(tmp_path, attempt=3))
    old.claim()
    old.open(7)
    new.claim()
    make(tmp_path, 7, uid=None)
    with pytest.raises(Fenced, match="attempt 2 no longer owns"):
        old.commit(7, best=None)
    assert checkpoints.look_at(tmp_path / "checkpoint-7").mark is None
    assert new.owns()
    assert not old.owns()
    with pytest.raises(Fenced):
        old.claim()


def test_a_new_job_takes_over_an_old_jobs_volume(tmp_path: Path) -> None:
    keeper(context(tmp_path, uid="old", attempt=4)).claim()
    keeper(context(tmp_path, attempt=1)).claim()


def test_only_a_completion_of_the_same_specification_counts(tmp_path: Path) -> None:
    run = context(tmp_path)
    run.state_dir.mkdir()
    written = Completion(spec_hash="hash", attempt=1, step=9, train_loss=1.5, finished="2026-01-01T00:00:00+00:00")
    (run.state_dir / records.COMPLETION_FILE).write_text(written.to_json())
    assert checkpoints.completed(run) == written
    assert checkpoints.completed(dataclasses.replace(run, spec_hash="other")) is None
    assert checkpoints.completed(dataclasses.replace(run, spec_hash="")) is None


def test_a_job_that_was_created_again_is_done_whatever_its_uid_and_may_be_overwritten(tmp_path: Path) -> None:
    run = context(tmp_path, uid="of the first one")
    run.state_dir.mkdir(parents=True)
    written = Completion(spec_hash="hash", attempt=3, step=9, train_loss=1.5, finished="2026-01-01T00:00:00+00:00")
    (run.state_dir / records.COMPLETION_FILE).write_text(written.to_json())
    again = context(tmp_path, uid="of the second one", attempt=1, overwrite_output_dir=True)
    assert checkpoints.completed(again) == written


def test_a_result_that_is_trained_over_is_no_more(tmp_path: Path) -> None:
    """Else a manifest that is taken back would find the completion of a result that another one has overwritten."""
    first = context(tmp_path)
    first.state_dir.mkdir(parents=True)
    written = Completion(spec_hash="hash", attempt=1, step=9, train_loss=1.5, finished="2026-01-01T00:00:00+00:00")
    (first.state_dir / records.COMPLETION_FILE).write_text(written.to_json())
    keeper(context(tmp_path, uid="changed", spec_hash="other", attempt=1)).claim()
    assert checkpoints.completed(first) is None
