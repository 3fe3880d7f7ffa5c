"""Fixtures of the tests on a real cluster; README.md beside this file says how it's made."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.cluster import jobs, local_run, session
from tests.cluster.harness import borrow, layout, machine
from tests.cluster.harness.cluster import Say
from tests.cluster.harness.waiting import ClusterError
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.session import Cluster, SharedFolder

TIMEOUT = 900
"""Seconds per test, when it says nothing itself: the first one also pays for the cluster."""
_NUMBERS = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give cluster tests time, and run those first that want the machine without a cluster."""
    ours = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in ours:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT))
    items.sort(key=lambda item: item.path.name != "test_leftovers.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test names the folder with the logs, and writes down what its namespace holds."""
    report = yield
    values = getattr(item, "funcargs", {})
    if report.failed and isinstance(cluster := values.get("cluster"), Cluster):
        lines = [f"logs of all components and pods: {cluster.logs}"]
        if namespace := values.get("namespace"):
            lines.append(f"objects of the namespace: {cluster.describe(namespace)}")
        report.sections.append(("cluster", "\n".join(lines)))
    return report


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The harness's cluster on this machine, or the user's (FINETUNE_TEST_KUBECONFIG, or KUBECONFIG)."""
    ours = layout.default()
    named = os.environ.get("FINETUNE_TEST_KUBECONFIG") or os.environ.get("KUBECONFIG")
    if named and Path(named) != ours.kubeconfig:
        yield session.of_user(Path(named), tmp_path_factory.mktemp("cluster"))
        return
    _need_rights()
    with borrow.borrowed(ours, _teller(pytestconfig)):
        yield session.of_harness(ours)


@pytest.fixture
def rights() -> None:
    """The test is skipped, or fails in CI, on a machine that can't hold a cluster."""
    _need_rights()


def _need_rights() -> None:
    """Skip, but not in CI, where these tests must run."""
    reason = machine.missing_rights()
    if reason is None:
        return
    text = f"no test cluster on this machine: {reason}"
    if os.environ.get("CI") == "true":
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def _teller(config: pytest.Config) -> Say:
    """Tell on the terminal what takes so long, past pytest's capturing."""
    capture = config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\ncluster: {text}", end="", flush=True)

    return say


@pytest.fixture
def machine_cluster(cluster: Cluster) -> Cluster:
    """The harness's own cluster, whose nodes can be cut off; skipped on a user's."""
    if cluster.layout is None:
        pytest.skip("needs the harness's own cluster, and KUBECONFIG is set")
    return cluster


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, deleted with all it holds."""
    name = f"test-{os.getpid()}-{next(_NUMBERS)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.delete_namespace(name)


@pytest.fixture
def shared(machine_cluster: Cluster, namespace: str) -> SharedFolder:
    """A folder of this machine that pods of the namespace mount by the claim `shared`, writable for user 1000."""
    return machine_cluster.share(namespace)


@pytest.fixture
def inputs(operator: OperatorProcess, shared: SharedFolder) -> Path:
    """The claim's folder with model and data, and an operator that runs."""
    jobs.make_inputs(shared.path)
    return shared.path


@pytest.fixture(scope="session")
def unbroken(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[int, float]:
    """Losses of a run that nothing happened to, on this machine without a cluster."""
    claim = tmp_path_factory.mktemp("shared")
    jobs.make_inputs(claim)
    return local_run.losses_of(jobs.tiny("unbroken"), {"shared": claim}, tmp_path_factory.mktemp("unbroken"))


@pytest.fixture(scope="session")
def _operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    process = OperatorProcess(cluster, tmp_path_factory.mktemp("operator"))
    yield process
    with suppress(ProcessLookupError):
        process.stop()


@pytest.fixture
def no_operator(_operator: OperatorProcess) -> None:
    """None of ours runs: the test itself, or an operator with other rights, writes what an operator would."""
    _operator.stop()


@pytest.fixture
def operator(_operator: OperatorProcess) -> OperatorProcess:
    """Our operator, running with the tests' usual settings, whatever the test before did to it."""
    try:
        _operator.ensure()
    except ClusterError as error:
        pytest.fail(str(error), pytrace=False)
    return _operator
