"""What other systems read of ours under deploy/, judged by their own schemas and programs, and by what a call
needs of them. `python -m scripts.check_deploy` runs this where those are.
"""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from bridge.settings.settings import Settings
from tests.test_dashboards import series

yaml = pytest.importorskip("yaml", reason="no YAML library here")
validator = pytest.importorskip("kubernetes_validate", reason="Kubernetes' schemas are not here")
jsonschema = pytest.importorskip("jsonschema", reason="Kubernetes' schemas are not here")

DEPLOY: Final = Path(__file__).resolve().parents[1] / "deploy"
BASE, KEDA = DEPLOY / "kubernetes" / "base", DEPLOY / "kubernetes" / "keda"
NAME: Final = {"app.kubernetes.io/name": "phonebridge"}
SETTINGS: Final = {str(field.validation_alias) for field in Settings.model_fields.values()}


def objects(*folders: Path) -> list[dict[str, Any]]:
    """As the files have them; the kustomizations say how they are put together."""
    found = []
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            if path.name != "kustomization.yaml":
                found += list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return found


def of_kind(kind: str) -> dict[str, Any]:
    [one] = [one for one in objects(BASE, KEDA) if one["kind"] == kind]
    return one  # type: ignore[no-any-return]


def configuration() -> dict[str, str]:
    [made] = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))["configMapGenerator"]
    return dict(line.split("=", 1) for line in made["literals"])


def container() -> dict[str, Any]:
    [one] = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    return one  # type: ignore[no-any-return]


# --- by their schemas and programs -------------------------------------------------------------------------


@pytest.mark.parametrize("made", objects(BASE), ids=lambda one: str(one["kind"]))
def test_kubernetes_takes_it(made: dict[str, Any]) -> None:
    """Strictly: an unknown member is a mistake, and an unknown kind raises too."""
    assert validator.validate(made, "1.37", strict=True)


def test_the_schema_finds_a_misspelt_member() -> None:
    wrong = copy.deepcopy(of_kind("Deployment"))
    wrong["spec"]["strategy"]["rollingUpdate"] = {"maxsurge": 1}
    with pytest.raises(validator.ValidationError):
        validator.validate(wrong, "1.37", strict=True)
    with pytest.raises(validator.SchemaNotFoundError):
        validator.validate({"apiVersion": "v1", "kind": "NoSuchKind"}, "1.37", strict=True)


def _members(required: list[str], **members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": required, "additionalProperties": False}


TEXT, WHOLE = {"type": "string"}, {"type": "integer", "minimum": 0}
RULES = _members(
    [],
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
    selectPolicy=TEXT,
    policies={
        "type": "array",
        "items": _members(
            ["type", "value", "periodSeconds"],
            type={"enum": ["Pods", "Percent"]},
            value={"type": "integer", "minimum": 1},
            periodSeconds={"type": "integer", "minimum": 1, "maximum": 1800},
        ),
    },
)
SCALED_OBJECT: Final = _members(
    ["scaleTargetRef", "triggers"],
    scaleTargetRef=_members(["name"], name=TEXT, kind=TEXT, apiVersion=TEXT, envSourceContainerName=TEXT),
    pollingInterval={"type": "integer", "minimum": 1},
    cooldownPeriod=WHOLE,
    initialCooldownPeriod=WHOLE,
    idleReplicaCount=WHOLE,
    minReplicaCount=WHOLE,
    maxReplicaCount={"type": "integer", "minimum": 1},
    fallback=_members(
        ["failureThreshold", "replicas"],
        failureThreshold=WHOLE,
        replicas=WHOLE,
        behavior={"enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]},
    ),
    advanced=_members(
        [],
        restoreToOriginalReplicaCount={"type": "boolean"},
        horizontalPodAutoscalerConfig=_members(
            [], name=TEXT, behavior=_members([], scaleUp=RULES, scaleDown=RULES)
        ),
    ),
    triggers={
        "type": "array",
        "minItems": 1,
        "items": _members(
            ["type", "metadata"],
            type={"const": "prometheus"},
            name=TEXT,
            metricType={"enum": ["AverageValue", "Value"]},
            useCachedMetrics={"type": "boolean"},
            metadata=_members(
                ["serverAddress", "query", "threshold"],
                serverAddress=TEXT,
                query=TEXT,
                threshold=TEXT,
                activationThreshold=TEXT,
                ignoreNullValues=TEXT,
                namespace=TEXT,
                authModes=TEXT,
                unsafeSsl=TEXT,
            ),
        ),
    },
)
"""What a ScaledObject may have, by KEDA's resource definition (kedacore/keda, 2026-08) and its page on the
`prometheus` trigger, whose metadata are all text.
"""


def test_keda_takes_it() -> None:
    made = of_kind("ScaledObject")
    assert made["apiVersion"] == "keda.sh/v1alpha1"
    jsonschema.validate(made["spec"], SCALED_OBJECT)
    wrong = copy.deepcopy(made["spec"])
    wrong["triggers"][0]["metadata"]["ignorenullvalues"] = "false"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCALED_OBJECT)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
@pytest.mark.parametrize("folder", [BASE, KEDA], ids=["base", "keda"])
def test_kustomize_puts_it_together(folder: Path) -> None:
    """And each selector still means what it meant."""
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    made = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
    assert set(made) >= {one["kind"] for one in objects(BASE)} - {"Secret"} | {"ConfigMap"}
    for kind, one in made.items():
        if kind != "ScaledObject":
            validator.validate(one, "1.37", strict=True)
    assert made["Service"]["spec"]["selector"] == NAME
    store = made["NetworkPolicy"]["spec"]["egress"][-1]["to"][0]["podSelector"]["matchLabels"]
    assert store == {"app.kubernetes.io/name": "redis"}
    [used] = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert used["envFrom"][0]["configMapRef"]["name"] == made["ConfigMap"]["metadata"]["name"]
    assert ("replicas" in made["Deployment"]["spec"]) is (folder is BASE)


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="no haproxy here")
def test_haproxy_takes_it() -> None:
    subprocess.run(["haproxy", "-c", "-f", DEPLOY / "haproxy.cfg"], capture_output=True, check=True)


# --- by what a call needs ----------------------------------------------------------------------------------


def test_pods_have_longer_than_the_drain() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    drain_s = int(configuration()["BRIDGE_DRAIN_SECONDS"])
    [_, before_s] = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] == drain_s + 15
    assert int(before_s) < 10
    assert "SIGINT" not in str(container())


def test_readiness_is_readiness_and_life_is_life() -> None:
    ready, alive = container()["readinessProbe"], container()["livenessProbe"]
    assert ready["httpGet"]["path"] == "/readyz"
    assert ready["periodSeconds"] * ready["failureThreshold"] <= 5
    assert alive["httpGet"]["path"] == "/healthz"


def test_a_deploy_takes_no_pod_away_first() -> None:
    assert of_kind("Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert of_kind("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_cpu_is_not_limited_and_root_is_not_needed() -> None:
    assert "cpu" not in container()["resources"]["limits"]
    assert of_kind("Deployment")["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is True
    written = {one["mountPath"] for one in container()["volumeMounts"]}
    assert written == {"/state", "/tmp"}


def test_the_scaler_counts_calls_and_never_goes_to_zero() -> None:
    spec = of_kind("ScaledObject")["spec"]
    [trigger] = spec["triggers"]
    names = re.findall(r"phonebridge_\w+", trigger["metadata"]["query"])
    assert names
    assert set(names) <= set(series())
    assert spec["minReplicaCount"] >= 1
    assert float(trigger["metadata"]["threshold"]) <= 0.6 * int(configuration()["BRIDGE_MAX_CALLS"])
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= 300
    assert spec["scaleTargetRef"]["name"] == of_kind("Deployment")["metadata"]["name"]


def test_every_selector_finds_the_pods() -> None:
    pods = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert pods == NAME
    assert of_kind("Service")["spec"]["selector"] == pods
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert of_kind(kind)["spec"]["selector"]["matchLabels"] == pods
    assert of_kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == pods


def test_whatever_is_set_is_a_setting() -> None:
    secret = of_kind("Secret")["stringData"]
    given = {*configuration(), *secret, *(one["name"] for one in container()["env"])}
    assert given <= SETTINGS
    assert not set(configuration()) & set(secret)
    assert "BRIDGE_STORE" in secret, "pods without a store know nothing of each other's calls"


def test_the_fleet_of_compose() -> None:
    made = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    bridge, store, balancer = made["bridge"], made["redis"], made["balancer"]
    assert bridge["deploy"]["replicas"] == 2
    assert (DEPLOY / bridge["build"]["context"] / bridge["build"]["dockerfile"]).is_file()
    assert set(bridge["environment"]) <= SETTINGS
    grace_s = int(bridge["stop_grace_period"].removesuffix("s"))
    assert grace_s >= int(bridge["environment"]["BRIDGE_DRAIN_SECONDS"]) + 5
    assert "noeviction" in store["command"]
    assert bridge["environment"]["BRIDGE_STORE"].startswith("redis://redis:")
    [port] = balancer["ports"]
    assert port.startswith("127.0.0.1:"), "a laptop's fleet is not the network's"
    [volume] = balancer["volumes"]
    assert (DEPLOY / volume.partition(":")[0]).is_file()


def test_the_balancer_asks_and_waits_as_calls_need() -> None:
    text = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    assert "option httpchk GET /readyz" in text
    assert re.search(r"retry-on conn-failure empty-response", text)
    [kept_s] = re.findall(r"timeout http-keep-alive (\d+)s", text)
    assert int(kept_s) < 95
    assert re.search(r"server-template \S+ \d+ bridge:5050", text)


def test_flys_autoscaler_counts_calls_and_keeps_two() -> None:
    scaler = tomllib.loads((DEPLOY / "fly-autoscaler.toml").read_text(encoding="utf-8"))
    machine = tomllib.loads((DEPLOY / "fly.toml").read_text(encoding="utf-8"))
    env = scaler["env"]
    assert set(re.findall(r"phonebridge_\w+", env["FAS_PROMETHEUS_QUERY"])) <= set(series())
    assert env["FAS_APP_NAME"] == machine["app"]
    [most] = re.findall(r"/ (\d+)\)", env["FAS_STARTED_MACHINE_COUNT"])
    assert int(most) <= 0.6 * int(machine["env"]["BRIDGE_MAX_CALLS"])
    assert env["FAS_STARTED_MACHINE_COUNT"].startswith("max(2, ")
    assert machine["metrics"] == {"port": machine["http_service"]["internal_port"], "path": "/metrics"}
