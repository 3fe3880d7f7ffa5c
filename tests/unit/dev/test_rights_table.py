"""docs/security.md: the table of rights is that of the answers that are kept, and they are those that are wanted."""

import json

import pytest
import yaml
from dev import rights_table
from dev.environment import ROOT
from tests.cluster.audit import Right, granted
from tests.cluster.can_i import NOT_ASKED, QUESTIONS

ANSWERS = {
    "cluster": {
        "list pods": {"served": True, "other": True},
        "get pods": {"served": False, "other": False},
        "list namespaces": {"cluster": False},
    },
    "namespaced": {
        "list pods": {"served": True, "other": False},
        "get pods": {"served": False, "other": False},
        "list namespaces": {"cluster": True},
    },
}


def test_a_row_tells_what_may_be_done_where() -> None:
    rows = rights_table.table(ANSWERS).splitlines()[2:]
    assert rows == ["| `pods` | list | list | - | get |", "| `namespaces` | - | list | - | - |"]


def test_the_rest_of_the_page_stays() -> None:
    text = f"before\n{rights_table.BEGIN}old\n{rights_table.END}after\n"
    made = rights_table.page(text, ANSWERS)
    assert made.startswith("before\n")
    assert made.endswith("after\n")
    assert "old" not in made


def test_the_page_is_made_of_the_answers_that_are_kept() -> None:
    text = rights_table.PAGE.read_text(encoding="utf-8")
    assert text == rights_table.page(text, json.loads(rights_table.KEPT.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("mode", "case"), [("cluster", "defaults"), ("namespaced", "two-teams")])
def test_kubectl_is_asked_about_every_right_of_the_chart(mode: str, case: str) -> None:
    rendered = yaml.safe_load_all((ROOT / "tests" / "helm" / case / "rendered.yaml").read_text(encoding="utf-8"))
    roles = [one for one in rendered if one["kind"] in {"ClusterRole", "Role"}]
    rights = {right.anywhere() for role in roles for right in granted(role) if right.group not in NOT_ASKED}
    assert {_right(one.verb, one.resource) for one in QUESTIONS if mode in one.wanted} == rights


def _right(verb: str, resource: str) -> Right:
    """`finetunejobs.finetune.dev/status` as a rule has it."""
    name, slash, part = resource.partition("/")
    plural, _, group = name.partition(".")
    return Right(verb=verb, group=group, resource=f"{plural}{slash}{part}")


def test_the_answers_that_are_kept_are_those_that_are_wanted() -> None:
    kept = json.loads(rights_table.KEPT.read_text(encoding="utf-8"))
    assert kept == {
        mode: {question.text: question.expected(mode) for question in QUESTIONS} for mode in ("cluster", "namespaced")
    }
