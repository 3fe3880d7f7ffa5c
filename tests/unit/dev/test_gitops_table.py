"""docs/gitops.md, and what lies in deploy/gitops."""

import json
from typing import Any

import yaml
from dev import gitops_table
from dev.gitops_table import KEPT, PAGE, STATES, THINGS


def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def test_the_page_is_made_of_the_results_that_are_kept() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert gitops_table.page(text, results()) == text, "`python -m dev.gitops_table --write` writes the tables"


def test_the_results_are_those_of_the_objects_and_scripts_of_today() -> None:
    assert results()["asked"] == gitops_table.asked(), "`make gitops` asks the tools again"


def test_every_recorded_state_has_a_row() -> None:
    rows = gitops_table.tools(results()).splitlines()[2:]
    assert len(rows) == len(list(STATES.glob("*.yaml"))) == len(results()["libraries"])


def test_argocd_cm_holds_the_script() -> None:
    data = yaml.safe_load((THINGS / "argocd-cm.yaml").read_text(encoding="utf-8"))["data"]
    script = data["resource.customizations.health.finetune.dev_FineTuneJob"]
    assert script == (THINGS / "health.lua").read_text(encoding="utf-8")


def test_the_page_shows_every_recipe_of_kubectl_wait_and_each_has_its_column() -> None:
    text, waits = PAGE.read_text(encoding="utf-8"), results()["kubectl"]
    lines = (THINGS / "kubectl-wait.txt").read_text(encoding="utf-8").splitlines()
    for what, command in zip(lines[::2], lines[1::2], strict=True):
        assert what.startswith("# ")
        assert command in text
        wanted = command.split("--for=")[1].split()[0].removeprefix("condition=")
        assert wanted in waits or wanted == "jsonpath={.status.completionTime}", command


def test_the_flux_kustomizations_differ_only_in_what_they_wait_for() -> None:
    ready, trained = (
        yaml.safe_load((THINGS / name).read_text(encoding="utf-8"))
        for name in ("flux-kustomization.yaml", "flux-kustomization-trained.yaml")
    )
    for one in (ready, trained):
        del one["spec"]["timeout"], one["spec"]["healthCheckExprs"][0]["current"]
    assert ready == trained
