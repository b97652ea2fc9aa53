from __future__ import annotations

import pytest

from common.object_store.keys import check_key, check_prefix, folder_of

HOSTILE = [
    "",
    "/etc/passwd",
    "..",
    "../outside",
    "inputs/../../outside",
    "inputs/./a",
    "inputs//a",
    "inputs/",
    "inputs/a\0.png",
    "inputs/a b",
    "inputs\\a",
    "inputs/a\n",
    "inputs/fotografía",
    "inputs/~unfinished",
    "a" * 256,
    "a/" * 300 + "a",
]


@pytest.mark.parametrize(
    "key", ["a", "inputs/local/2026-11-21/" + "f" * 64, "a/.b/..c/-_", "a" * 255]
)
def test_an_ordinary_key_passes(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize("key", HOSTILE)
def test_a_hostile_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not an object key"):
        check_key(key)


@pytest.mark.parametrize("prefix", ["", "outputs", "outputs/", "outputs/1/ab"])
def test_a_prefix_may_be_empty_or_end_in_a_slash(prefix: str) -> None:
    assert check_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["/", "../", "outputs//", "outputs/../", "\0"])
def test_a_hostile_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="not an object key"):
        check_prefix(prefix)


@pytest.mark.parametrize(
    ("prefix", "folder"), [("", ""), ("a", ""), ("a/", "a"), ("a/b", "a"), ("a/b/", "a/b")]
)
def test_the_folder_of_a_prefix_is_its_whole_parts(prefix: str, folder: str) -> None:
    assert folder_of(prefix) == folder
