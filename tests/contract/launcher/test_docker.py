"""What is so of consumers as containers alone: they outlive the scaler, and are Compose's."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiodocker import Docker, DockerError

from common.errors import LauncherUnavailable, LaunchFailed, SettingsInvalid
from common.job_log import JobLog
from scaler.launchers import open_launcher
from scaler.launchers.docker import ORPHAN_SECONDS, DockerLauncher
from tests.contract.launcher.rig import ECHO, EMPTY, OTHER, PATIENCE, DockerRig, ended
from tests.contract.launcher.way import Way

pytestmark = pytest.mark.anyio


async def test_what_runs_is_adopted_by_the_next_scaler(docker_rig: DockerRig) -> None:
    await docker_rig.make_template()
    first = docker_rig.launcher()
    kept, stopped = await first.start(ECHO), await first.start(OTHER)
    await first.stop(stopped.id)
    await first.close()

    second = docker_rig.launcher()
    seen = {one.id: one for one in await second.running()}
    assert seen[kept.id] == kept
    # It may have ended by now; either way the second knows that it was asked to.
    gone = seen[stopped.id] if seen[stopped.id].exit_code is not None else None
    gone = gone or await ended(second, stopped.id)
    assert gone.stopping
    assert not gone.failed
    assert await second.running() == [kept]
    await second.close()


async def test_what_ended_while_no_scaler_looked_is_told_of_once(docker_rig: DockerRig) -> None:
    await docker_rig.make_template()
    first = docker_rig.launcher()
    started = await first.start(ECHO)
    await first.close()
    await docker_rig.kill(started.id)

    second = docker_rig.launcher()
    assert (await ended(second, started.id)).exit_code == 137
    assert await second.running() == []
    assert await docker_rig.containers() == []
    await second.close()


async def test_consumers_of_models_that_the_catalogue_lost_are_stopped(
    docker_rig: DockerRig,
) -> None:
    await docker_rig.make_template()
    first = docker_rig.launcher()
    await first.start(OTHER)
    kept = await first.start(ECHO)
    await first.close()

    second = docker_rig.launcher([ECHO])
    async with asyncio.timeout(PATIENCE):
        while len(await docker_rig.containers()) > 1:
            assert await second.running() == [kept]
            await asyncio.sleep(0.1)
    await second.close()


async def test_a_container_that_was_never_started_is_removed(
    docker_rig: DockerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {
        "com.docker.compose.project": docker_rig.project,
        "darkroom.worker": "w",
        "darkroom.model": ECHO,
        "darkroom.device": "",
    }
    await docker_rig.make_template()
    config: dict[str, Any] = {"Image": EMPTY, "Cmd": ["true"], "Labels": labels}
    await docker_rig.docker.containers.create(config, name=f"{docker_rig.project}-w")
    launcher = docker_rig.launcher()
    assert await launcher.running() == []
    assert len(await docker_rig.containers()) == 1  # it may be about to start
    monkeypatch.setattr("scaler.launchers.docker.ORPHAN_SECONDS", -ORPHAN_SECONDS)
    assert await launcher.running() == []
    assert await docker_rig.containers() == []
    await launcher.close()


async def test_without_a_template_it_says_what_to_do(docker_rig: DockerRig) -> None:
    launcher = docker_rig.launcher()
    with pytest.raises(LaunchFailed, match="docker compose --profile"):
        await launcher.start(ECHO)
    await launcher.close()


async def test_a_consumer_is_made_as_compose_made_the_template(docker_rig: DockerRig) -> None:
    limits: dict[str, Any] = {
        "Memory": 2 * 2**30,
        "PidsLimit": 500,
        "ReadonlyRootfs": True,
        "Init": True,
    }
    other = await docker_rig.docker.networks.create({"Name": f"{docker_rig.project}-net"})
    second = await docker_rig.docker.networks.create({"Name": f"{docker_rig.project}-net2"})
    try:
        id = await docker_rig.make_template(
            **limits, NetworkMode=f"{docker_rig.project}-net", RestartPolicy={"Name": "no"}
        )
        await second.connect({"Container": id})
        launcher = docker_rig.launcher()
        started = await launcher.start(ECHO)
        made = await docker_rig.docker.containers.container(started.id).show()
        template = await docker_rig.docker.containers.container(id).show()
        for name in limits:
            assert made["HostConfig"][name] == template["HostConfig"][name]
        assert made["HostConfig"]["Binds"] == template["HostConfig"]["Binds"]
        assert made["Config"]["StopTimeout"] == 7
        assert made["Image"] == template["Image"]
        assert made["Config"]["Cmd"] == ["python", "-m", "consumers", ECHO]
        labels = made["Config"]["Labels"]
        assert labels["com.docker.compose.project"] == docker_rig.project
        assert labels["com.docker.compose.service"] == "consumer"
        assert labels["com.docker.compose.container-number"] != "1"
        assert "darkroom.template" not in labels
        assert (labels["darkroom.worker"], labels["darkroom.model"]) == (started.id, ECHO)
        networks = made["NetworkSettings"]["Networks"]
        assert set(networks) == {f"{docker_rig.project}-net", f"{docker_rig.project}-net2"}
        assert all("consumer" in one["Aliases"] for one in networks.values())
        assert made["Name"] == f"/{started.id}"
        await launcher.close()
    finally:
        for container in await docker_rig.containers():
            await docker_rig.docker.containers.container(container["Id"]).delete(force=True)
        await docker_rig.docker.containers.container(id).delete(force=True)
        await other.delete()
        await second.delete()


async def test_the_template_that_was_up_last_is_taken(docker_rig: DockerRig) -> None:
    cpu = await docker_rig.make_template("cpu", Memory=10**9)
    await docker_rig.make_template("gpu", Memory=2 * 10**9)
    launcher = docker_rig.launcher()

    async def memory() -> int:
        started = await launcher.start(ECHO)
        made = await docker_rig.docker.containers.container(started.id).show()
        return int(made["HostConfig"]["Memory"])

    assert await memory() == 2 * 10**9
    again = docker_rig.docker.containers.container(cpu)
    await again.start()
    await again.wait()
    assert await memory() == 10**9
    await launcher.close()


async def test_one_that_fails_says_why(docker_rig: DockerRig, tmp_path: Path) -> None:
    await docker_rig.make_template()
    launcher = docker_rig.launcher()
    (tmp_path / "model_names.txt").write_text(f"{OTHER} task=echo\n")
    started = await launcher.start(ECHO)
    failed = await ended(launcher, started.id)
    assert (failed.exit_code, failed.failed) == (2, True)
    assert f"consumer: There is no model {ECHO!r}" in failed.output
    assert await docker_rig.containers() == []
    await launcher.close()


async def test_one_that_cannot_be_removed_holds_up_nothing_and_is_tried_again_later(
    docker_rig: DockerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await docker_rig.make_template()
    launcher = docker_rig.launcher()
    stuck, kept = await launcher.start(ECHO), await launcher.start(OTHER)
    await docker_rig.kill(stuck.id)
    await docker_rig.docker.containers.container(stuck.id).wait()

    with structlog.testing.capture_logs() as logged:
        async with docker_rig.unremovable(stuck.id):
            first = {one.id: one for one in await launcher.running()}
            assert first[stuck.id].exit_code == 137  # so its place is free
            assert first[kept.id] == kept
            assert await launcher.running() == [kept]  # it is told of once
            another = await launcher.start(ECHO)
            alive = {kept.id, another.id}
            assert {one.id for one in await launcher.running()} == alive
        assert {one.id for one in await launcher.running()} == alive
        found = {one["Labels"]["darkroom.worker"] for one in await docker_rig.containers()}
        assert stuck.id in found  # not tried again yet, though it could be removed now
    assert [one["event"] for one in logged] == ["not_removed"]

    monkeypatch.setattr("scaler.launchers.docker.AGAIN_SECONDS", 0.0)
    assert {one.id for one in await launcher.running()} == alive
    assert len(await docker_rig.containers()) == len(alive)
    await launcher.close()


async def test_two_projects_of_one_engine_leave_each_other_alone(
    docker_rig: DockerRig, docker_host: str, tmp_path: Path
) -> None:
    other = DockerRig(docker_host, f"t{secrets.token_hex(4)}", tmp_path)
    await docker_rig.make_template()
    mine, theirs = docker_rig.launcher(), other.launcher([OTHER])
    try:
        started = await mine.start(ECHO)
        assert await theirs.running() == []
        await theirs.stop(started.id)
        assert await mine.running() == [started]
        with pytest.raises(LaunchFailed, match="no template"):
            await theirs.start(OTHER)
    finally:
        await mine.close()
        await theirs.close()
        await other.clear()


async def test_a_device_that_the_engine_cannot_give_fails_the_launch_and_leaves_nothing(
    docker_rig: DockerRig,
) -> None:
    await docker_rig.make_template()
    launcher = docker_rig.launcher()
    with pytest.raises(LaunchFailed, match=r"device|gpu|nvidia"):
        await launcher.start(ECHO, "GPU-not-here")
    assert await docker_rig.containers() == []
    await launcher.close()


async def test_while_the_engine_is_away_nothing_is_known_and_then_all_is_as_it_was(
    docker_rig: DockerRig, docker_host: str, tmp_path: Path
) -> None:
    await docker_rig.make_template()
    async with Way(docker_host.removeprefix("unix://"), tmp_path / "way.sock") as way:
        docker = Docker(f"unix://{tmp_path}/way.sock")
        launcher = DockerLauncher(docker, [ECHO], grace_seconds=5, project=docker_rig.project)
        started = await launcher.start(ECHO)
        await way.shut()
        with pytest.raises(LauncherUnavailable, match="Docker Engine"):
            await launcher.running()
        with pytest.raises(LauncherUnavailable):
            await launcher.stop(started.id)
        with pytest.raises(LaunchFailed):
            await launcher.start(ECHO)
        await way.open()
        assert await launcher.running() == [started]
        await launcher.close()


async def test_one_that_was_removed_by_hand_is_not_there_any_more(docker_rig: DockerRig) -> None:
    await docker_rig.make_template()
    launcher = docker_rig.launcher()
    started = await launcher.start(ECHO)
    await docker_rig.docker.containers.container(started.id).delete(force=True)
    assert await launcher.running() == []
    with pytest.raises(DockerError):
        await docker_rig.docker.containers.get(started.id)
    await launcher.close()


async def test_an_engine_that_is_named_wrongly_is_a_setting_to_mend(
    monkeypatch: pytest.MonkeyPatch, log: JobLog
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "here")
    with pytest.raises(SettingsInvalid, match="DOCKER_HOST"):
        open_launcher("docker", models=[ECHO], grace_seconds=1, project="p")
