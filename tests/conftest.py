"""What every test may ask for: the event loop's flavour, and real servers."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import hypothesis
import pytest

from infra.docker_engine import DockerEngine
from infra.servers import Servers

# Machines are busy at times; and the suite repeats itself, while the soak looks for what is new.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.register_profile(
    "soak", deadline=None, derandomize=False, max_examples=2000, stateful_step_count=60
)
hypothesis.settings.load_profile("soak" if os.environ.get("SOAK") else "suite")

SETTINGS = ("DARKROOM_JOB_LOG_URL", "DARKROOM_OBJECT_STORE_URL", "DARKROOM_DATABASE_URL")
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def leaks_show_in_their_own_module() -> Iterator[None]:
    """A socket that nobody closed fails a test of the module that left it, not a later one."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[str, str]]:
    """Settings of a real Kafka, MinIO and Postgres: the caller's own, or ones started here.

    The object store's keys are in this process's environment too, where its clients read them.
    """
    if all(os.environ.get(name) for name in SETTINGS):
        yield {name: os.environ[name] for name in (*SETTINGS, *KEYS) if name in os.environ}
        return
    with Servers() as started, pytest.MonkeyPatch.context() as patch:
        settings = started.settings()
        for name in KEYS:
            patch.setenv(name, settings[name])
        yield settings


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """DOCKER_HOST of a real engine, which other tests may use at the same time.

    What a test makes there has names and labels of its own, and it removes that. Ours is taken
    down when nobody uses it any more; its images stay.
    """
    with DockerEngine() as engine:
        yield engine.host
