"""What is written, checked against the schemas of Kubernetes and against our own settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import msgspec
import pytest

from cli.kubernetes.choices import Choices, Needs
from cli.kubernetes.manifests import NOT_SHARED
from cli.kubernetes.names import MODEL, object_name
from common.catalogue import Catalogue, read_catalogue
from common.errors import SettingsInvalid
from common.settings import PROJECT, Settings
from tests.unit.cli.kubernetes import keda
from tests.unit.cli.kubernetes.made import SECURED, Object, containers, made, of_kind, settings

Read = Callable[..., Catalogue]
CASES: dict[str, tuple[Choices, dict[str, Any]]] = {
    "plain": (Choices(), {}),
    "secured": (Choices(secret="mine"), SECURED),
    "changed": (
        Choices(
            namespace="images",
            replicas=5,
            consumer_needs=Needs("2500m", "16Gi"),
            weights_claim="kept",
            poll_seconds=30,
        ),
        {
            "device": "cuda:1",
            "grace_seconds": 90.5,
            "partitions": 16,
            "port": 9000,
            "public_url": "https://darkroom.example.com",
            "reuse": True,
        },
    ),
}
# The oldest that knows what every release has had for years, and the newest.
VERSIONS = ["1.29", kubernetes_validate.latest_version()]


@pytest.fixture(params=CASES)
def objects(request: pytest.FixtureRequest, catalogue: Read) -> dict[tuple[str, str], Object]:
    choices, given = CASES[request.param]
    own = [f"me/m{number} task=echo max={number}" for number in (1, 100)]
    lines = catalogue(
        "Salesforce/blip-image-captioning-base",
        "stabilityai/sd-turbo task=image_to_image steps=4 guidance=0 device=cuda min=1 max=8",
        "me/cpu task=echo device=cpu",
        *own,
    )
    return made(lines, choices, **given)


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(
    objects: dict[tuple[str, str], Object], version: str
) -> None:
    for one in objects.values():
        if one["apiVersion"].startswith("keda.sh/"):
            keda.check(one)
        else:
            kubernetes_validate.validate(one, version, strict=True)


def test_the_schemas_would_refuse_a_field_that_does_not_exist(catalogue: Read) -> None:
    objects = made(catalogue("a/b task=echo"))
    deployment = objects["Deployment", "darkroom-api"]
    deployment["spec"]["template"]["spec"]["terminationGraceSeconds"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)
    scaled = objects["ScaledObject", object_name("a/b")]
    scaled["spec"]["triggers"][0]["metadata"]["lagThreshold"] = 5
    with pytest.raises(msgspec.ValidationError):
        keda.check(scaled)


def test_every_pod_may_do_as_little_as_the_restricted_standard_allows(
    objects: dict[tuple[str, str], Object],
) -> None:
    for deployment in of_kind("Deployment", objects).values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        kinds = [set(volume) - {"name"} for volume in pod["volumes"]]
        allowed = {"configMap", "emptyDir", "secret", "persistentVolumeClaim"}
        assert all(kind <= allowed for kind in kinds)
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_no_password_is_written_and_consumers_never_see_the_ledger(
    objects: dict[tuple[str, str], Object],
) -> None:
    assert "s3cret" not in msgspec.json.encode(list(objects.values())).decode()
    assert not of_kind("Secret", objects)
    for name, container in containers(objects):
        wanted = [one["name"] for one in container["env"] if "valueFrom" in one]
        assert ("DARKROOM_DATABASE_URL" in wanted) != name.startswith("consumer-")


def test_every_variable_of_ours_is_a_setting(objects: dict[tuple[str, str], Object]) -> None:
    known = {f"DARKROOM_{name.upper()}" for name in Settings.model_fields}
    foreign = {"HOME", "USER", "HF_HOME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"}
    assert set(objects["ConfigMap", "darkroom-settings"]["data"]) <= known
    for _, container in containers(objects):
        assert {one["name"] for one in container["env"]} <= known | foreign


def test_no_setting_that_may_hold_a_secret_is_shared() -> None:
    speaks_of_one = re.compile(r"secret|password|token|(?<!per)_key$|^(job|object|database).*_url$")
    secrets = {name for name in Settings.model_fields if speaks_of_one.search(name)}
    assert {"job_log_url", "object_store_url", "database_url"} <= secrets <= NOT_SHARED


def test_settings_that_differ_from_their_defaults_are_those_that_pods_get(
    catalogue: Read,
) -> None:
    given = {"max_image_bytes": 5, "reuse": True, "device": "cuda:1", "port": 9000, "slots": 7}
    data = made(catalogue("a/b task=echo"), Choices(), **given)["ConfigMap", "darkroom-settings"][
        "data"
    ]
    assert data == {
        "DARKROOM_HOST": "0.0.0.0",
        "DARKROOM_PORT": "9000",
        "DARKROOM_MAX_IMAGE_BYTES": "5",
        "DARKROOM_REUSE": "True",
        "DARKROOM_DEVICE": "cuda",  # the pod's own, whatever its number is on the node
    }
    values = {name.removeprefix("DARKROOM_").lower(): value for name, value in data.items()}
    assert Settings.model_validate(values).reuse is True


def test_only_a_model_that_asks_for_a_gpu_has_one(catalogue: Read) -> None:
    lines = ("a/gpu task=echo device=cuda:2", "a/cpu task=echo device=cpu", "a/auto task=echo")
    objects = dict(containers(made(catalogue(*lines), Choices(gpu="amd.com/gpu"))))

    def limits(model: str) -> set[str]:
        return set(objects[object_name(model)]["resources"]["limits"])

    assert limits("a/gpu") == {"memory", "amd.com/gpu"}
    assert limits("a/cpu") == limits("a/auto") == {"memory"}


def test_a_consumer_has_its_grace_and_time_to_give_back_what_is_left(catalogue: Read) -> None:
    objects = made(catalogue("a/b task=echo"), grace_seconds=90.5)
    pod = objects["Deployment", object_name("a/b")]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 121


def test_the_count_of_consumers_is_left_to_keda(catalogue: Read) -> None:
    objects = made(catalogue("a/b task=echo"), Choices(replicas=4))
    deployments = of_kind("Deployment", objects)
    counts = {name: one["spec"].get("replicas") for name, one in deployments.items()}
    assert counts == {
        "darkroom-api": 4,
        "darkroom-recorder": 1,
        "darkroom-notifier": 1,
        object_name("a/b"): None,
    }
    target = objects["ScaledObject", object_name("a/b")]["spec"]["scaleTargetRef"]["name"]
    assert target in deployments


def test_a_model_is_found_again_from_its_objects(catalogue: Read) -> None:
    model = "me/" + "long" * 20
    deployment = made(catalogue(f"{model} task=echo"))["Deployment", object_name(model)]
    assert deployment["metadata"]["annotations"][MODEL] == model
    pod = deployment["spec"]["template"]["metadata"]
    assert pod["annotations"][MODEL] == model
    assert deployment["spec"]["selector"]["matchLabels"].items() <= pod["labels"].items()


def test_other_settings_or_models_make_other_pods(catalogue: Read) -> None:
    def state(line: str, **given: object) -> str:
        template = made(catalogue(line), Choices(), **given)["Deployment", "darkroom-api"]["spec"][
            "template"
        ]
        return str(template["metadata"]["annotations"]["darkroom/config"])

    assert state("a/b task=echo") == state("a/b task=echo")
    assert (
        len({state("a/b task=echo"), state("a/c task=echo"), state("a/b task=echo", reuse=True)})
        == 3
    )


def test_a_new_model_leaves_the_others_pods_as_they_are(catalogue: Read) -> None:
    before = made(catalogue("a/b task=echo"))
    after = made(catalogue("a/b task=echo", "a/c task=echo"))
    same = ("Deployment", object_name("a/b"))
    assert after[same] == before[same]
    assert after["Deployment", "darkroom-api"] != before["Deployment", "darkroom-api"]


def test_downloads_are_kept_where_there_is_a_claim_for_them(catalogue: Read) -> None:
    objects = made(catalogue("a/b task=echo"), Choices(weights_claim="kept"))
    volumes = objects["Deployment", object_name("a/b")]["spec"]["template"]["spec"]["volumes"]
    (weights,) = [volume for volume in volumes if volume["name"] == "weights"]
    assert weights["persistentVolumeClaim"] == {"claimName": "kept"}


def test_an_authority_is_mounted_where_the_url_looks_for_it(catalogue: Read) -> None:
    for _, container in containers(made(catalogue("a/b task=echo"), Choices(), **SECURED)):
        mounts = {one["mountPath"]: one.get("subPath") for one in container["volumeMounts"]}
        assert mounts["/etc/darkroom/tls/ca.pem"] == "ca.pem"


def test_an_api_that_asks_for_no_key_is_refused(catalogue: Read) -> None:
    with pytest.raises(SettingsInvalid, match="DARKROOM_AUTH=off"):
        made(catalogue("a/b task=echo"), auth="off")


def test_the_projects_own_catalogue_becomes_manifests() -> None:
    objects = made(read_catalogue(PROJECT / "model_names.txt"))
    assert ("Deployment", object_name("darkroom/shapes")) in objects
    assert all(re.fullmatch(r"[a-z0-9-]{1,63}", name) for _, name in objects)
    assert settings().auth == "auto"
