"""The chart: what each set of values makes of it, what it refuses, and what it may not drift from."""

from __future__ import annotations

import base64
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.cluster.helm import CHART
from tests.helm.conftest import Helm

from finetune_operator.metrics import Metrics
from finetune_operator.names import Key
from finetune_operator.settings import Settings

pytestmark = pytest.mark.cluster  # Helm is built with the cluster's programs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CASES = sorted(folder.parent.name for folder in HERE.glob("*/values.yaml"))
OWNED = {
    "namespaces",
    "image_repository",
    "image_tag",
    "network_profiles",
    "intake_url",
    "intake_tls_folder",
    "intake_ca",
    "intake_bind",
    "health_bind",
    "admission_folder",
    "admission_port",
}
"""Settings that other values say."""
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def rendered(helm: Helm, case: str) -> list[dict[str, Any]]:
    """The manifests of a case."""
    done = helm(
        "template", "finetune-operator", CHART, "--namespace", "finetune-system", "-f", HERE / case / "values.yaml"
    )
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def of_kind(manifests: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


@pytest.mark.parametrize("case", CASES)
def test_it_is_rendered_as_expected(helm: Helm, case: str, request: pytest.FixtureRequest) -> None:
    shown = [one for one in rendered(helm, case) if one["kind"] != "CustomResourceDefinition"]
    for secret in of_kind(shown, "Secret"):
        secret["data"] = dict.fromkeys(secret["data"], "made anew each time")
    text = yaml.safe_dump_all(shown, sort_keys=False, width=119)
    file = HERE / case / "rendered.yaml"
    if request.config.getoption("--update-golden"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_helm_has_nothing_against_it(helm: Helm, case: str) -> None:
    done = helm("lint", "--strict", CHART, "-f", HERE / case / "values.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES)
def test_the_operator_reads_its_settings(helm: Helm, case: str, tmp_path: Path) -> None:
    (config,) = [one for one in of_kind(rendered(helm, case), "ConfigMap") if "settings.yaml" in one["data"]]
    (tmp_path / "settings.yaml").write_text(config["data"]["settings.yaml"], encoding="utf-8")
    settings = Settings.from_environment({"FINETUNE_OPERATOR_FILE": str(tmp_path / "settings.yaml")})
    said = yaml.safe_load((HERE / case / "values.yaml").read_text(encoding="utf-8"))
    assert settings.namespaces == tuple(said.get("namespaces", ()))
    expected = (
        None
        if case == "given-rights"
        else said.get("intake", {}).get("url", "https://finetune-operator.finetune-system.svc:8090")
    )
    assert settings.intake_url == expected
    for name, value in said.get("settings", {}).items():
        assert getattr(settings, _snake(name)) == value
    for name in said.get("networkProfiles", {}):
        assert said["networkProfiles"][name]["env"].items() <= settings.network_profiles[name].env.items()


def test_the_definition_comes_with_it_and_stays(helm: Helm) -> None:
    (crd,) = of_kind(rendered(helm, "defaults"), "CustomResourceDefinition")
    assert crd["metadata"].pop("annotations")["helm.sh/resource-policy"] == "keep"
    ours = yaml.safe_load((ROOT / "crds" / "finetunejobs.yaml").read_text(encoding="utf-8"))
    ours["metadata"].pop("annotations", None)
    assert crd == ours
    assert of_kind(rendered(helm, "closed-network"), "CustomResourceDefinition") == []


def test_a_package_of_it_is_whole(helm: Helm, tmp_path: Path) -> None:
    done = helm("package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        file = archive.extractfile("finetune-operator/files/finetunejobs.yaml")
        assert file is not None
        assert file.read() == (ROOT / "crds" / "finetunejobs.yaml").read_bytes()


def test_with_names_its_rights_on_children_end_at_these_namespaces(helm: Helm) -> None:
    manifests = rendered(helm, "two-teams")
    (cluster,) = of_kind(manifests, "ClusterRole")
    granted = {resource for rule in cluster["rules"] for resource in rule["resources"]}
    assert granted == {"tokenreviews", "customresourcedefinitions", "namespaces"}
    assert [role["metadata"]["namespace"] for role in of_kind(manifests, "Role")] == ["team-a", "team-b"]
    everywhere = of_kind(rendered(helm, "defaults"), "ClusterRole")[0]["rules"]
    *reviews, names = cluster["rules"]
    assert names == {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]}
    assert everywhere == reviews + of_kind(manifests, "Role")[0]["rules"], "kopf asks for no names where it serves all"


def test_the_plain_manifests_grant_the_same(helm: Helm) -> None:
    plain = yaml.safe_load_all((ROOT / "deploy" / "operator" / "rbac.yaml").read_text(encoding="utf-8"))
    (theirs,) = of_kind(list(plain), "ClusterRole")
    (ours,) = of_kind(rendered(helm, "defaults"), "ClusterRole")
    assert sorted(map(json.dumps, ours["rules"])) == sorted(map(json.dumps, theirs["rules"]))


def test_the_charts_own_certificate_is_the_services_and_trusted_by_the_webhook(helm: Helm) -> None:
    done = helm("template", "finetune-operator", CHART, "--namespace", "system", "--set", "admission.enabled=true")
    manifests = [one for one in yaml.safe_load_all(done.stdout) if one]
    (secret,) = [one for one in of_kind(manifests, "Secret") if one["metadata"]["name"].endswith("-admission")]
    (webhook,) = of_kind(manifests, "ValidatingWebhookConfiguration")
    (service,) = of_kind(manifests, "Service")
    files = {name: base64.b64decode(text) for name, text in secret["data"].items()}
    client = webhook["webhooks"][0]["clientConfig"]
    assert base64.b64decode(client["caBundle"]) == files["ca.crt"]
    authority, served = (x509.load_pem_x509_certificate(files[name]) for name in ("ca.crt", "tls.crt"))
    served.verify_directly_issued_by(authority)
    names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["finetune-operator.system.svc"]
    assert client["service"]["name"] == service["metadata"]["name"]
    assert client["service"]["port"] in {port["port"] for port in service["spec"]["ports"]}


def test_the_intakes_own_certificate_is_for_the_address_that_the_pods_are_given(helm: Helm) -> None:
    url = "intake.url=https://intake.example.com:8443"
    done = helm("template", "finetune-operator", CHART, "--namespace", "system", "--set", url)
    manifests = [one for one in yaml.safe_load_all(done.stdout) if one]
    (secret,) = of_kind(manifests, "Secret")
    files = {name: base64.b64decode(text) for name, text in secret["data"].items()}
    authority, served = (x509.load_pem_x509_certificate(files[name]) for name in ("ca.crt", "tls.crt"))
    served.verify_directly_issued_by(authority)
    names = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    ours = "finetune-operator.system.svc"
    assert names.get_values_for_type(x509.DNSName) == ["intake.example.com", ours, f"{ours}.cluster.local"]
    (deployment,) = of_kind(manifests, "Deployment")
    volumes = {one["name"]: one for one in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes["intake"]["secret"]["secretName"] == secret["metadata"]["name"]


def test_pods_are_not_sent_to_tls_without_tls(helm: Helm) -> None:
    done = helm("template", "finetune-operator", CHART, "--set", "intake.url=http://intake.example.com")
    assert done.returncode != 0
    assert "intake.url: is http://, and the intake speaks TLS" in done.stderr


REFUSED = [
    ({"replicas": 2}, "replicas"),
    ({"image": {"digest": "latest"}}, "image/digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "image/pullPolicy"),
    ({"namespaces": "team-a"}, "namespaces"),
    ({"namespaces": ["Team_A"]}, "namespaces/0"),
    ({"runAsUser": 0}, "runAsUser"),
    ({"settings": {"backoff": 3}}, "backoff"),
    ({"settings": {"allowHostPath": "yes"}}, "settings/allowHostPath"),
    ({"networkProfiles": {"roce": {"memlock": "1Gi"}}}, "memlock"),
    ({"intake": {"port": 80}}, "intake/port"),
    ({"imagePullSecrets": ["registry"]}, "imagePullSecrets/0"),
    ({"metrics": {"serviceMonitor": {"interval": "soon"}}}, "metrics/serviceMonitor/interval"),
]


@pytest.mark.parametrize(("values", "where"), REFUSED, ids=[where for _, where in REFUSED])
def test_a_wrong_value_is_refused_by_its_name(helm: Helm, tmp_path: Path, values: dict[str, Any], where: str) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    done = helm("template", "finetune-operator", CHART, "-f", tmp_path / "values.yaml")
    assert done.returncode != 0
    assert where in done.stderr.replace(".", "/")


def test_every_value_is_described_and_has_its_default() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for path, described in _properties(SCHEMA):
        assert described.get("description"), f"{path} has no description"
    listed = {
        path for path, _ in _properties(SCHEMA) if not path.startswith(("global", "settings/", "networkProfiles/"))
    }
    assert listed - {"global"} == set(_paths(values, listed))


def test_every_setting_of_the_operator_is_a_value() -> None:
    named = {_snake(name) for name in SCHEMA["properties"]["settings"]["properties"]}
    assert named == Settings.model_fields.keys() - OWNED


def test_alerts_and_dashboard_ask_for_metrics_that_there_are(helm: Helm) -> None:
    metrics = Metrics()
    metrics.passed("ok", 1.0)
    told = {"stepsPerSecond": "1", "step": 1, "totalSteps": 2, "loss": "1", "tokensPerSecond": "1", "mfu": "0.5"}
    queued = {"name": "q", "since": "2026-01-01T00:00:00Z"}
    admitted = {"name": "q", "admissions": 1, "admittedTime": "2026-01-01T00:01:00Z"}
    metrics.job(Key("a", "b"), {"state": "Queued", "queue": queued})
    ended = [{"number": 1, "reason": "PodLost"}]
    metrics.job(
        Key("a", "b"), {"state": "Running", "attempt": 2, "progress": told, "queue": admitted, "attempts": ended}
    )
    metrics.job(Key("a", "c"), {"state": "Queued", "queue": queued})
    text = generate_latest(metrics.registry).decode()
    known = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    asked = re.findall(r"\bfinetune_\w+", (CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
    (rule,) = of_kind(rendered(helm, "monitored"), "PrometheusRule")
    asked += re.findall(r"\bfinetune_\w+", json.dumps(rule["spec"]))
    assert asked
    assert set(asked) <= known


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", name)


def _properties(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}{name}", inner
        yield from _properties(inner, f"{path}{name}/")
        yield from _properties(inner.get("additionalProperties") or {}, f"{path}{name}/*/")


def _paths(values: dict[str, Any], listed: set[str], path: str = "") -> Iterator[str]:
    """Of what values.yaml says, down to where the schema leaves it open."""
    for name, value in values.items():
        yield f"{path}{name}"
        if isinstance(value, dict) and any(other.startswith(f"{path}{name}/") for other in listed):
            yield from _paths(value, listed, f"{path}{name}/")
