"""requirements.lock holds what pyproject.toml asks for, pinned and hashed, and nothing else.

That no advisory names a package, `make audit` finds out: it takes the network.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).resolve().parents[2]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Locked:
    """One entry of the lock."""

    requirement: Requirement
    options: tuple[str, ...]  # what stands behind it

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        return str(self.requirement.specifier).removeprefix("==")

    @property
    def here(self) -> bool:
        """Whether this platform and Python install it."""
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def locked(text: str) -> list[Locked]:
    """Raises InvalidRequirement for what is neither a requirement nor a remark."""
    joined = re.sub(r"\\\n\s*", " ", text)
    entries = []
    for line in filter(None, (line.partition("#")[0].strip() for line in joined.splitlines())):
        requirement, *options = re.split(r"\s+(?=--)", line)
        entries.append(Locked(Requirement(requirement), tuple(options)))
    return entries


LOCK = locked((PROJECT / "requirements.lock").read_text())
HERE = {entry.name: entry for entry in LOCK if entry.here}


def asked_for() -> list[Requirement]:
    """What pyproject.toml names, with all its extras."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(one) for one in (*project["dependencies"], *(r for e in extras for r in e))]


def requirements_of(name: str) -> list[Requirement]:
    """Of an installed distribution, whatever their markers say."""
    return [Requirement(one) for one in metadata.requires(name) or ()]


def needed(asked: list[Requirement]) -> Iterator[tuple[str, Requirement]]:
    """Each requirement that holds here, however far down, and who has it."""
    left = [("pyproject.toml", one) for one in asked]
    seen: set[tuple[str, frozenset[str]]] = set()
    while left:
        who, requirement = left.pop()
        yield who, requirement
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen or name not in HERE:
            continue
        seen.add((name, extras))
        for one in requirements_of(name):
            if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in ("", *extras)):
                left.append((name, one))


@pytest.fixture(scope="module")
def as_locked() -> None:
    """What is installed tells what is needed only where it is what was locked."""
    others = [
        f"{name} {installed}"
        for name, entry in HERE.items()
        if Version(installed := metadata.version(name)) != Version(entry.version)
    ]
    if any("+" in one for one in others):
        pytest.skip(f"installed by TORCH_BACKEND, not from the lock: {', '.join(others)}")
    assert others == [], "run `make run` to install what is locked"


def test_each_is_pinned_to_one_version_with_hashes_and_from_no_address() -> None:
    assert len(LOCK) > 100
    for entry in LOCK:
        assert re.fullmatch(r"==[^=*,]+", str(entry.requirement.specifier)), entry.name
        assert entry.requirement.url is None, entry.name
        assert entry.options, entry.name
        assert all(HASH.fullmatch(option) for option in entry.options), entry.name


def test_the_file_names_no_registry() -> None:
    text = (PROJECT / "requirements.lock").read_text()
    assert "://" not in text
    assert not [line for line in text.splitlines() if line.startswith("-")]


def test_one_version_of_each_is_installed() -> None:
    names = [entry.name for entry in LOCK if entry.here]
    assert len(names) == len(HERE)


@pytest.mark.usefixtures("as_locked")
def test_all_that_is_needed_is_locked_at_a_version_that_will_do() -> None:
    lacking = [
        f"{who} asks for {requirement}"
        for who, requirement in needed(asked_for())
        if (entry := HERE.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(entry.version, prereleases=True)
    ]
    assert lacking == []


@pytest.mark.usefixtures("as_locked")
def test_nothing_is_locked_that_nobody_asks_for() -> None:
    reached = {canonicalize_name(one.name) for _, one in needed(asked_for())}
    assert HERE.keys() - reached == set()
    if sys.platform != "linux":
        return  # where least is left out
    # Of what other platforms install, only who names it is known here.
    named = {canonicalize_name(one.name) for name in HERE for one in requirements_of(name)}
    assert {entry.name for entry in LOCK} - HERE.keys() - named == set()
