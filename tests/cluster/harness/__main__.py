"""`python -m tests.cluster.harness up`: the test cluster for people; `make cluster-up` calls it."""

from __future__ import annotations

import argparse
import sys

from . import binaries, cluster, machine, state
from .layout import Layout, default
from .process import TREE, members
from .waiting import ClusterError


def main() -> int:
    """Run one verb; 1 and a message when it fails."""
    arguments = _parser().parse_args()
    layout = default()
    try:
        _run(arguments, layout)
    except ClusterError as error:
        print(f"error: {error}\nlogs: {layout.logs}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    description = "A real Kubernetes on this machine, for tests."
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.harness", description=description)
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="bring the cluster up (a new one, when there is one)")
    up.add_argument("--nodes", type=int, default=2, help="0: no kubelets, for tests of scale")
    up.add_argument("--disposable", action="store_true", help="the next test session replaces it")
    verbs.add_parser("down", help="take it down and clean up, whatever state it is in")
    verbs.add_parser("build", help="install packages and build programs only")
    verbs.add_parser("status", help="what runs")
    verbs.add_parser("env", help="print shell lines that point kubectl to the cluster")
    for verb, text in (("kill-node", "cut a node's power"), ("start-node", "switch it on again")):
        verbs.add_parser(verb, help=text).add_argument("node", help="node1, node2 ...")
    return parser


def _run(arguments: argparse.Namespace, layout: Layout) -> None:
    verb: str = arguments.verb
    match verb:
        case "up":
            cluster.up(layout, nodes=arguments.nodes, kept=not arguments.disposable, say=_say)
        case "down":
            cluster.down(layout, _say)
        case "build":
            _build(layout)
        case "status":
            _status(layout)
        case "env":
            print(f"export KUBECONFIG={layout.kubeconfig} PATH={layout.bin}:$PATH")
        case "kill-node":
            cluster.kill_node(layout, arguments.node)
        case "start-node":
            cluster.start_node(layout, arguments.node)
        case _:
            raise AssertionError(verb)


def _build(layout: Layout) -> None:
    """A machine that can't hold the cluster needs no programs: its cluster tests are skipped, or fail in CI."""
    if reason := machine.missing_rights():
        _say(f"nothing built: {reason}")
    else:
        cluster.build(layout, _say)
        binaries.ensure(layout, _say, (binaries.HEALTH,))


def _say(text: str) -> None:
    print(text, flush=True)


def _status(layout: Layout) -> None:
    known = state.load(layout)
    if known is None:
        print("no cluster")
        return
    made = "complete" if known.complete else "half made"
    used = "in use by tests" if state.in_use(layout) else "unused"
    print(f"{known.nodes} nodes, {made}, {used}; logs: {layout.logs}")
    for group in sorted(path.parent for path in TREE.glob("*/system/*/cgroup.procs")):
        print(f"{group.parent.parent.name:8} {group.name:26} {'runs' if members(group) else 'ENDED'}")


if __name__ == "__main__":
    sys.exit(main())
