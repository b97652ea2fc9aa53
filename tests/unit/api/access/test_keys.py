from __future__ import annotations

import hashlib

import pytest

from api.access.keys import ApiKey, Scope, id_of, is_owner, make_key

USER = frozenset({Scope.USER})


def test_a_key_is_kept_as_a_digest_and_recognised_by_its_secret() -> None:
    key, secret = make_key(scopes=USER, now=5.0)

    assert id_of(secret) == key.id
    assert key.is_of(secret)
    assert key.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert secret.rpartition("_")[2] not in repr(key)


def test_another_secret_with_the_same_id_is_not_the_key() -> None:
    key, secret = make_key(scopes=USER, now=5.0)
    other = secret[:-1] + ("0" if secret[-1] != "0" else "1")

    assert id_of(other) == key.id
    assert not key.is_of(other)


def test_secrets_have_32_random_bytes_and_never_repeat() -> None:
    secrets = {make_key(scopes=USER, now=5.0)[1] for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(bytes.fromhex(secret.rpartition("_")[2])) == 32 for secret in secrets)


@pytest.mark.parametrize(
    "word", ["", "dk_", "dk_abc_def", "sk-123", "dk_" + "0" * 12 + "_" + "g" * 64, "dk_é\0"]
)
def test_what_does_not_look_like_a_key_has_no_id(word: str) -> None:
    assert id_of(word) is None


def test_a_key_without_an_owner_is_its_own() -> None:
    key, _ = make_key(scopes=USER, now=5.0)
    assert key.owner == key.id


def test_only_admin_may_what_other_scopes_may() -> None:
    def with_scope(scope: Scope) -> ApiKey:
        return make_key(scopes=frozenset({scope}), now=5.0)[0]

    for scope in Scope:
        assert with_scope(Scope.ADMIN).may(scope)
        assert [other for other in Scope if with_scope(scope).may(other)] == (
            list(Scope) if scope is Scope.ADMIN else [scope]
        )


def test_a_key_ends_at_its_expiry() -> None:
    key, _ = make_key(scopes=USER, now=5.0, expires_at=10.0)
    assert not key.expired(9.9)
    assert key.expired(10.0)
    assert not make_key(scopes=USER, now=5.0)[0].expired(1e12)


@pytest.mark.parametrize(
    ("name", "fine"),
    [("ann", True), ("a.b-c_d", True), ("", False), ("../x", False), ("a/b", False), (".x", False)],
)
def test_an_owner_can_stand_in_an_object_key(name: str, fine: bool) -> None:
    assert is_owner(name) is fine
