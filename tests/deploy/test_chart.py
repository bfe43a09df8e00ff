"""The Helm chart, rendered by Helm's own engine and held against Kubernetes' schemas, unknown fields being errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from support_image import ROOT, command_of

from rayon.config import parse_config
from rayon.serving.access import ADMINS, KEYS, USERS

helm = pytest.importorskip("helm_python", reason="Helm's engine is not here (pip install helm-python-sdk)")
kubernetes = pytest.importorskip("kubernetes_validate", reason="no schemas here (pip install kubernetes-validate)")

CHART = ROOT / "deploy" / "helm" / "rayon-app"
OLDEST, NEWEST = "1.27", "1.37"

Values = dict[str, Any]


def values(**changed: Any) -> Values:
    """Return the least that has to be said, with changes."""
    least: Values = {
        "image": {"repository": "registry.example.com/rayon/app"},
        "experiment": (ROOT / "configs" / "production.yaml").read_text(encoding="utf-8"),
        "secret": "rayon",
        "metaflow": {"serviceUrl": "http://metaflow-service.metaflow:8080", "datastoreRoot": "s3://shop/metaflow"},
    }
    return {**least, **changed}


EVERYTHING: Values = {
    "autoscaling": {"enabled": True},
    "aws": {"region": "eu-west-3", "secret": "s3"},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "image": {"repository": "registry.example.com/rayon/app", "digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "registry"}],
    "ingress": {
        "enabled": True,
        "className": "haproxy",
        "host": "rayon.example.com",
        "tlsSecret": "rayon-tls",
        "annotations": {"haproxy.org/cookie-persistence": "rayon"},
        "sticky": True,
    },
    "model": "TrainFlow/12",
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    },
    "nodeSelector": {"pool": "cpu"},
    "podAnnotations": {"team": "catalogue"},
    "podLabels": {"team": "catalogue"},
    "priorityClassName": "people",
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/rayon"}},
    "tolerations": [{"key": "pool", "operator": "Exists"}],
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
}


@pytest.fixture(scope="module")
def chart() -> Iterator[Any]:
    with helm.Chart.load(str(CHART)) as loaded:
        yield loaded


def render(chart: Any, given: Values) -> dict[str, Any]:
    """Return the objects by kind, after the values' own schema."""
    chart.validate_schema(given)
    rendered = chart.render(given, name="rayon", namespace="shop")
    objects = [
        one
        for name, text in rendered.items()
        if name.endswith(".yaml")
        for one in yaml.safe_load_all(text)
        if one is not None
    ]
    return {one["kind"]: one for one in objects}


def pod(objects: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    spec = objects["Deployment"]["spec"]["template"]["spec"]
    return spec, spec["containers"][0]


def test_the_chart_lints():
    found = helm.lint(str(CHART), values(), strict=True)
    assert not found["errors"]
    assert [message["error"] for message in found["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_what_it_makes_is_what_kubernetes_knows(chart, version):
    least, all_of_it = render(chart, values()), render(chart, values(**EVERYTHING))
    assert set(all_of_it) - set(least) == {"HorizontalPodAutoscaler", "Ingress"}
    for one in [*least.values(), *all_of_it.values()]:
        kubernetes.validate(one, version, strict=True)
    misspelt = {**least["Service"], "spec": {**least["Service"]["spec"], "sessionAfinity": "None"}}
    with pytest.raises(kubernetes.ValidationError, match="sessionAfinity"):
        kubernetes.validate(misspelt, version, strict=True)


def test_the_example_of_the_documentation_can_be_installed(chart):
    page = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    example = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    objects = render(chart, {"experiment": values()["experiment"], **example})
    for one in objects.values():
        kubernetes.validate(one, NEWEST, strict=True)
    assert "Ingress" in objects and objects["ServiceAccount"]["metadata"]["annotations"]


def test_the_pod_is_confined(chart):
    spec, container = pod(render(chart, values()))
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]
    config = parse_config(yaml.safe_load(values()["experiment"]))
    assert config.cache.startswith("/tmp/")
    written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert written == {"/cache", "/tmp"}  # what the image writes to
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["cache"]["emptyDir"]["sizeLimit"] and volumes["tmp"]["emptyDir"]["sizeLimit"]


def test_it_starts_what_the_image_starts(chart):
    objects = render(chart, values(model="TrainFlow/12"))
    _, container = pod(objects)
    program = command_of("app")[:2]
    assert container["command"][:2] == program
    assert container["command"][2:] == [
        "--host=0.0.0.0",
        "--experiment=/etc/rayon/experiment.yaml",
        "--model=TrainFlow/12",
    ]
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounted["/etc/rayon"] == "experiment"
    config = parse_config(yaml.safe_load(objects["ConfigMap"]["data"]["experiment.yaml"]))
    assert config.app.photos.startswith("s3://")
    grace = pod(objects)[0]["terminationGracePeriodSeconds"]
    assert grace > config.app.timeout_seconds + 5  # requests under way, and the wait before
    for probe, path in {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}.items():
        assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "http"}


def test_secrets_come_from_the_secret_and_the_rest_finds_metaflow(chart):
    _, container = pod(render(chart, values(aws={"secret": "s3"})))
    environment = {one["name"]: one for one in container["env"]}
    for name in ("RAYON_STORE", USERS, KEYS, ADMINS):
        assert environment[name]["valueFrom"]["secretKeyRef"]["name"] == "rayon"
    assert environment[ADMINS]["valueFrom"]["secretKeyRef"]["optional"] is True
    assert environment["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "s3"
    plain = {name: one["value"] for name, one in environment.items() if "value" in one}
    assert plain["RAYON_BRANCH"] == "prod"  # the branch of --production
    assert plain["METAFLOW_DEFAULT_METADATA"] == "service" and plain["METAFLOW_DEFAULT_DATASTORE"] == "s3"
    assert plain["METAFLOW_SERVICE_URL"] == "http://metaflow-service.metaflow:8080"
    assert plain["METAFLOW_DATASTORE_SYSROOT_S3"] == "s3://shop/metaflow"


def test_a_changed_experiment_makes_new_pods(chart):
    def mark(given: Values) -> Any:
        return render(chart, given)["Deployment"]["spec"]["template"]["metadata"]["annotations"]

    changed = values()
    changed["experiment"] += "\n"
    assert mark(values()) == mark(values()) != mark(changed)


def test_selectors_meet_the_pods(chart):
    objects = render(chart, values(**EVERYTHING))
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        objects["Deployment"]["spec"]["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector and selector.items() <= labels for selector in selectors)
    name = objects["Deployment"]["metadata"]["name"]
    assert objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name
    assert "replicas" not in objects["Deployment"]["spec"]  # the autoscaler's
    path = objects["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]
    assert path["backend"]["service"]["name"] == objects["Service"]["metadata"]["name"]
    assert pod(objects)[0]["serviceAccountName"] == objects["ServiceAccount"]["metadata"]["name"]
    assert pod(objects)[1]["image"].endswith("@sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"replicaz": 2}, "replicaz"),
        ({"secret": ""}, "secret is empty"),
        ({"image": {}}, "image.repository is empty"),
        ({"metaflow": {"serviceUrl": "http://m:8080"}}, "metaflow.datastoreRoot is empty"),
        ({"experiment": ""}, "experiment is empty"),
        ({"experiment": "name: [shop"}, "experiment is no YAML"),
        ({"experiment": "name: shop\n"}, "app.photos of the experiment is no s3:// address"),
        ({**EVERYTHING, "ingress": {"enabled": True, "host": "x.example.com"}}, "sticky"),
        ({"ingress": {"enabled": True, "host": "x.example.com"}}, "networkPolicy.from"),
        ({**EVERYTHING, "ingress": {"enabled": True, "sticky": True}}, "ingress.host is empty"),
        ({"terminationGracePeriodSeconds": 30}, "45"),
    ],
)
def test_what_cannot_work_is_said_before_it_is_installed(chart, changed, words):
    with pytest.raises(helm.HelmError, match=words):
        render(chart, values(**changed))
