"""`darkroom k8s`, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from cli.__main__ import app
from cli.exit_codes import ExitCode
from cli.kubernetes.names import object_name
from tests.unit.cli.kubernetes.made import SECURED, SERVERS


@pytest.fixture(autouse=True)
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of a cluster, with a catalogue to write to."""
    catalogue = tmp_path / "model_names.txt"
    catalogue.write_text("a/b task=echo\na/c task=image_to_text\na/unknown\n")
    for name, value in SERVERS.items():
        monkeypatch.setenv(f"DARKROOM_{name.upper()}", value)
    monkeypatch.setenv("DARKROOM_MODEL_NAMES", str(catalogue))
    return catalogue


def asked(*words: str) -> Result:
    return CliRunner().invoke(app, ["k8s", *words])


def test_it_prints_a_stream_that_is_the_same_each_time() -> None:
    shown = asked()
    assert shown.exit_code == ExitCode.OK
    kinds = [one["kind"] for one in yaml.safe_load_all(shown.stdout)]
    assert kinds.count("Deployment") == 6
    assert kinds.count("ScaledObject") == 3
    assert asked().stdout == shown.stdout


def test_what_may_not_be_meant_is_said_beside_it() -> None:
    said = asked().stderr
    assert "DARKROOM_DATABASE_URL" in said
    assert "No GPU is asked for by a/c, a/unknown: device=cuda" in said
    assert "what a/unknown make" in said
    assert "DARKROOM_PUBLIC_URL is not set" in said


def test_files_are_not_replaced_unasked_and_those_of_gone_models_are_named(
    tmp_path: Path, cluster: Path
) -> None:
    out = tmp_path / "manifests"
    assert asked("--out", str(out)).exit_code == ExitCode.OK
    files = {file.name: file.read_text() for file in out.iterdir()}
    assert {"darkroom.yaml", "api.yaml", "recorder.yaml", "notifier.yaml"} < files.keys()

    refused = asked("--out", str(out), "--namespace", "other")
    assert refused.exit_code == ExitCode.USAGE
    assert "--overwrite" in refused.stderr
    assert {file.name: file.read_text() for file in out.iterdir()} == files

    cluster.write_text("a/b task=echo\n")
    replaced = asked("--out", str(out), "--overwrite")
    assert replaced.exit_code == ExitCode.OK
    assert f"{object_name('a/c')}.yaml" in replaced.stderr
    assert (out / f"{object_name('a/c')}.yaml").exists()


def test_no_password_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECURED.items():
        monkeypatch.setenv(f"DARKROOM_{name.upper()}", value)
    shown = asked()
    assert shown.exit_code == ExitCode.OK
    assert "s3cret" not in shown.output


def test_options_reach_the_objects() -> None:
    words = "--namespace images --image-api reg/api:1 --image-consumer reg/consumer:1 --cpu-api 2"
    words += " --memory-consumer 16Gi --replicas-api 3 --seconds-per-job 1 --seconds-per-job a/b=6"
    objects = {
        (one["kind"], one["metadata"]["name"]): one
        for one in yaml.safe_load_all(asked(*words.split()).stdout)
    }
    assert {one["metadata"]["namespace"] for one in objects.values()} == {"images"}
    api = objects["Deployment", "darkroom-api"]["spec"]
    (container,) = api["template"]["spec"]["containers"]
    assert api["replicas"] == 3
    assert container["image"] == "reg/api:1"
    assert container["resources"]["requests"]["cpu"] == "2"
    consumer = objects["Deployment", object_name("a/b")]["spec"]["template"]["spec"]
    assert consumer["containers"][0]["image"] == "reg/consumer:1"
    assert consumer["containers"][0]["resources"]["limits"]["memory"] == "16Gi"
    normal = {
        model: objects["ScaledObject", object_name(model)]["spec"]["triggers"][1]["metadata"]
        for model in ("a/b", "a/c")
    }
    assert normal["a/b"]["lagThreshold"] == "5"
    assert normal["a/c"]["lagThreshold"] == "30"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--seconds-per-job fast", "--seconds-per-job fast"),
        ("--seconds-per-job a/b=0", "OWNER/NAME=SECONDS"),
        ("--seconds-per-job a/z=1", "no model 'a/z'"),
        ("--namespace My_Own", "--namespace My_Own: it should be a name"),
        ("--memory-consumer 4GB", "--memory-consumer 4GB: it should be a quantity"),
        ("--project app", "--project app"),
        ("--replicas-api 0", "replicas-api"),
        ("--out /dev/null/x", "/dev/null"),
    ],
)
def test_what_makes_no_sense_is_said_and_ends_with_2(words: str, reason: str) -> None:
    shown = asked(*words.split())
    assert shown.exit_code == ExitCode.USAGE
    assert reason in shown.stderr
    assert not shown.stdout


def test_the_embedded_stack_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVERS:
        monkeypatch.delenv(f"DARKROOM_{name.upper()}")
    shown = asked()
    assert shown.exit_code == ExitCode.USAGE
    assert "DARKROOM_JOB_LOG_URL, DARKROOM_OBJECT_STORE_URL, DARKROOM_DATABASE_URL" in shown.stderr
