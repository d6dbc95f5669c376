"""The files for Kubernetes: valid by published schemas, closed as docs/serving.md says, and what they
call exists. No cluster has run them.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from ruamel.yaml import YAML

from governance.proxy.launching import backends
from governance.proxy.run import alias_of
from governance.release.serving import parse
from pipelines.cli import cli
from tests.conftest import ROOT

SERVE = ROOT / "deploy" / "kubernetes" / "serve.yaml"
STORAGE = ROOT / "deploy" / "kserve" / "clusterstoragecontainer.yaml"
KUBERNETES = "1.37"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(path.read_text(encoding="utf-8")))


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [each for each in documents(SERVE) if each["kind"] == kind]
    return found


@pytest.fixture
def storage() -> dict[str, Any]:
    (found,) = documents(STORAGE)
    return found


@pytest.fixture
def pod() -> dict[str, Any]:
    return of_kind("Deployment")["spec"]["template"]["spec"]


def own_containers() -> list[Any]:
    """The arguments of `countersign` in each container that runs it."""
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    rows = [
        pytest.param(each["args"], id=each["name"])
        for each in [*pod["initContainers"], *pod["containers"]]
        if "/countersign-" in each["image"]
    ]
    (storage,) = documents(STORAGE)
    called = storage["spec"]["container"]["command"]
    assert called[0] == "countersign"
    passed = ["countersign://support-desk@champion", "/mnt/models"]  # by KServe
    return [*rows, pytest.param([*called[1:], *passed], id="storage-initializer")]


# -- Schemas ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment", "Service"])
def test_each_object_is_valid_for_kubernetes(kind: str) -> None:
    published = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed (extra `dev`)"
    )
    found = of_kind(kind)
    published.validate(found, KUBERNETES, strict=True)
    for spoil in ({"spce": {}}, {"metadata": {"name": 7}}):
        with pytest.raises(published.ValidationError):
            published.validate({**found, **spoil}, KUBERNETES, strict=True)


def test_the_storage_container_is_valid_for_kserve(storage: dict[str, Any]) -> None:
    (schema,) = documents(Path(__file__).with_name("clusterstoragecontainer.yaml"))
    validator = jsonschema.Draft202012Validator(schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator.validate(storage)
    for path, value in (
        ("name", "init"),
        ("args", ["countersign://support-desk@champion", "/mnt/models"]),
        ("imagePulPolicy", "Always"),
        ("securityContext", {"runAsUser": "10001"}),
    ):
        spoiled = copy.deepcopy(storage)
        spoiled["spec"]["container"][path] = value
        assert not validator.is_valid(spoiled), path
    assert storage["spec"]["supportedUriFormats"] == [{"prefix": "countersign://"}]


# -- Commands --------------------------------------------------------------------------------------
@pytest.mark.parametrize("arguments", own_containers())
def test_each_container_calls_a_command_that_takes_its_arguments(arguments: list[str]) -> None:
    command = cli.get_command(click.Context(cli), arguments[0])
    assert command is not None
    given = command.make_context(arguments[0], list(arguments[1:])).params
    parse(given["name"])  # raises for what is no name


def test_the_pod_serves_the_version_that_it_unpacks(pod: dict[str, Any]) -> None:
    """The proxy says of a backend what `--backend` declares."""
    (unpack,), proxy = pod["initContainers"], pod["containers"][0]
    model, version, _ = parse(unpack["args"][2])
    others = [each for each in proxy["args"] if each.startswith("--backend=")]
    assert list(backends((others[0].removeprefix("--backend="),))) == [version]
    assert len(others) == 1 and alias_of(proxy["args"][1])[0] == model
    inference = pod["containers"][1]
    called = [*inference["command"], *inference["args"]]
    assert called[called.index("--served-model-name") + 1] == model
    assert called[called.index("--host") + 1] == "127.0.0.1"
    mounted = {each["name"]: each for each in inference["volumeMounts"]}
    assert mounted["models"]["readOnly"] and mounted["models"]["mountPath"] == unpack["args"][3]


def test_kubernetes_asks_the_proxy_where_it_answers(pod: dict[str, Any]) -> None:
    proxy = pod["containers"][0]
    assert proxy["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert proxy["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    (port,) = proxy["ports"]
    assert f"--port={port['containerPort']}" in proxy["args"]
    service, deployment = of_kind("Service")["spec"], of_kind("Deployment")["spec"]
    assert service["ports"][0]["targetPort"] == port["name"]
    labels = deployment["template"]["metadata"]["labels"]
    assert service["selector"] == deployment["selector"]["matchLabels"] == labels


# -- What is closed --------------------------------------------------------------------------------
def test_no_container_of_the_pod_has_rights_that_it_does_not_need(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    shared = pod["securityContext"]
    assert shared["runAsNonRoot"] is True and shared["runAsUser"] > 0
    assert shared["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in [*pod["initContainers"], *pod["containers"]]:
        own = each["securityContext"]
        assert own["allowPrivilegeEscalation"] is False and own["privileged"] is False
        assert own["readOnlyRootFilesystem"] is True and own["capabilities"] == {"drop": ["ALL"]}
        assert not {"runAsUser", "runAsNonRoot"} & own.keys()
    volumes = {next(iter(set(each) - {"name"})) for each in pod["volumes"]}
    assert volumes == {"emptyDir"}


def test_the_storage_container_has_no_rights_that_it_does_not_need(storage: dict[str, Any]) -> None:
    own = storage["spec"]["container"]["securityContext"]
    assert own["runAsNonRoot"] is True and own["runAsUser"] > 0
    assert own["allowPrivilegeEscalation"] is False and own["privileged"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}


SECRET = {"COUNTERSIGN_USER", "COUNTERSIGN_PASSWORD", "SERVICE_KEY"}


def test_secrets_are_named_and_not_written(pod: dict[str, Any], storage: dict[str, Any]) -> None:
    """The inference server gets none."""
    *own, inference = [*pod["initContainers"], *pod["containers"]]
    for each in [*own, storage["spec"]["container"]]:
        secret = {row["name"] for row in each["env"] if "secretKeyRef" in row.get("valueFrom", {})}
        assert secret == SECRET
    for path in (SERVE, STORAGE):
        assert not [each for each in documents(path) if each["kind"] == "Secret"]
    assert not {row["name"] for row in inference["env"]} & SECRET and "envFrom" not in inference
    assert not set(of_kind("ConfigMap")["data"]) & SECRET


def test_every_image_has_a_tag(pod: dict[str, Any], storage: dict[str, Any]) -> None:
    images = [each["image"] for each in [*pod["initContainers"], *pod["containers"]]]
    for image in [*images, storage["spec"]["container"]["image"]]:
        tag = image.rpartition("/")[2].partition(":")[2]
        assert tag and tag != "latest", image
