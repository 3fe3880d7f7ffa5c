from pathlib import Path

import pytest
import torch

from finetune_trainer import failures
from finetune_trainer.config import ConfigInvalid, parse
from finetune_trainer.context import Place, RunContext
from finetune_trainer.failures import Fenced, ModelNotFound
from finetune_trainer.records import Heartbeat, RankError


def a_config_error() -> ConfigInvalid:
    with pytest.raises(ConfigInvalid) as caught:
        parse({"learning_rat": 1})
    return caught.value


@pytest.mark.parametrize(
    ("error", "reason", "retryable", "users"),
    [
        (ModelNotFound("gone"), "ModelNotFound", False, True),
        (Fenced("old"), "Fenced", False, True),
        (a_config_error(), "ConfigInvalid", False, True),
        (torch.distributed.DistNetworkError("failed to recv"), "PeerLost", True, False),
        (
            RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer [10.0.0.2]"),
            "PeerLost",
            True,
            False,
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), "OutOfMemory", False, False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "OutOfMemory", False, False),
        (ZeroDivisionError("division by zero"), "Crashed", True, False),
    ],
)
def test_what_an_exception_means(error: Exception, reason: str, retryable: bool, users: bool) -> None:
    assert failures.judge(error) == failures.Verdict(reason=reason, retryable=retryable, users=users)


def test_a_users_mistake_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = RunContext(output_dir=tmp_path, run_dir=tmp_path, place=Place(rank=1, local_rank=1, world_size=2))
    (tmp_path / "heartbeat-1.json").write_text(Heartbeat(time=0.0, phase="training", step=7).to_json())
    with pytest.raises(SystemExit) as ended, failures.told(context):
        raise ModelNotFound("model_name_or_path: there is no folder /models/none")
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "ModelNotFound (rank 1 of 2): model_name_or_path: there is no folder /models/none\n"
    )
    error = RankError.from_json((tmp_path / "error-1.json").read_text())
    assert (error.rank, error.reason, error.step, error.traceback) == (1, "ModelNotFound", 7, "")


def test_our_own_faults_keep_their_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = RunContext(output_dir=tmp_path, place=Place())
    with pytest.raises(SystemExit), failures.told(context):
        raise KeyError("x")
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "test_failures.py" in shown
    assert shown.endswith("Crashed: 'x'\n")
