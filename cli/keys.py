"""`darkroom keys`: the operator's tool, straight on the ledger, so that it needs no key itself."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from api.access.keys import KEY_SECONDS, ApiKey, Scope, is_owner, make_key
from cli.errors import ServerUnavailable, UsageWrong
from cli.exit_codes import ExitCode
from cli.moments import moment, seconds
from cli.options import JsonOption
from cli.printing import print_json, print_table
from cli.running import run
from common.errors import LedgerUnavailable, SettingsInvalid
from common.settings import read_settings

# The ledger is imported where it is used: the other commands start twice as fast without it.
if TYPE_CHECKING:
    from api.database.database import Database

app = typer.Typer(no_args_is_help=True, help="API keys: make, list, end and replace them.")

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id: the part after dk_.")]


@app.command()
def create(
    scope: Annotated[
        list[Scope] | None,
        typer.Option(help="user runs models, monitor reads metrics, admin sees everything."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="30d|TIME", help="When it ends; never by default.")
    ] = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    owner: Annotated[
        str | None,
        typer.Option(help="Whose jobs it sees; keys may share one. By default it sees its own."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and show it: this once."""

    async def make(database: Database) -> ExitCode:
        from api.database import keys

        now = time.time()
        if owner is not None and not is_owner(owner):
            raise UsageWrong(f"--owner {owner}: use up to 64 letters, digits, . _ -")
        key, secret = make_key(
            scopes=frozenset(scope or [Scope.USER]),
            now=now,
            owner=owner,
            name=name,
            expires_at=None if expires is None else moment(expires, now, option="--expires"),
        )
        async with database.write() as connection:
            await keys.add(connection, key)
        _show(key, secret, as_json=as_json)
        return ExitCode.OK

    _run(make)


@app.command(name="list")
def list_keys(as_json: JsonOption = False) -> None:
    """Every key that ever was, without its secret."""

    async def show(database: Database) -> ExitCode:
        from api.database import keys

        async with database.read() as connection:
            every = await keys.every(connection)
        if as_json:
            print_json([_described(key) for key in every])
        else:
            _print(every)
        return ExitCode.OK

    _run(show)


@app.command()
def revoke(id: KeyId) -> None:
    """End a key now."""

    async def end(database: Database) -> ExitCode:
        from api.database import keys

        async with database.write() as connection:
            key = await _existing(connection, id)
            await keys.revoke(connection, key.id, at=time.time())
        _say(f"{key.id} is revoked: every API process refuses it within {KEY_SECONDS:g} seconds.")
        return ExitCode.OK

    _run(end)


@app.command()
def rotate(
    id: KeyId,
    overlap: Annotated[
        str | None, typer.Option(metavar="1h", help="How long the old key still works.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="30d|TIME", help="When the new one ends.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key's successor, with its owner, scopes and name, and end the old one."""

    async def replace(database: Database) -> ExitCode:
        from api.database import keys

        now = time.time()
        ends = now if overlap is None else now + seconds(overlap, option="--overlap")
        expires_at = None if expires is None else moment(expires, now, option="--expires")
        async with database.write() as connection:
            old = await _existing(connection, id)
            if old.revoked_at is not None:
                raise UsageWrong(f"{id} was revoked: make a key with `darkroom keys create`")
            key, secret = make_key(
                scopes=old.scopes, now=now, owner=old.owner, name=old.name, expires_at=expires_at
            )
            await keys.add(connection, key)
            if overlap is None:
                await keys.revoke(connection, old.id, at=now)
            else:
                await keys.let_expire(connection, old.id, at=ends)
        _show(key, secret, as_json=as_json)
        return ExitCode.OK

    _run(replace)


def _run(work: Callable[[Database], Awaitable[ExitCode]]) -> None:
    async def on_the_ledger() -> ExitCode:
        from api.database.database import Database

        try:
            settings = read_settings()
            database = await Database.open(settings.ledger_url)
        except SettingsInvalid as error:
            raise UsageWrong(str(error)) from error
        except LedgerUnavailable as error:
            raise ServerUnavailable(f"{error}: see DARKROOM_DATABASE_URL in apps.env") from error
        try:
            return await work(database)
        except LedgerUnavailable as error:
            raise ServerUnavailable(str(error)) from error
        finally:
            await database.close()

    raise typer.Exit(run(on_the_ledger(), interrupted="Interrupted."))


async def _existing(connection: Any, id: str) -> ApiKey:
    from api.database import keys

    key = await keys.get(connection, id.removeprefix("dk_").partition("_")[0])
    if key is None:
        raise UsageWrong(f"There is no key {id}: `darkroom keys list` shows all")
    return key


def _show(key: ApiKey, secret: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": key.id, "key": secret})
        return
    print(secret)
    _say(
        f"The key {key.id} of owner {key.owner}, for {', '.join(sorted(key.scopes))}. It is not "
        "shown again. Send it as `Authorization: Bearer`, or set DARKROOM_API_KEY."
    )


def _described(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "owner": key.owner,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "state": _state(key),
        "created_at": _time(key.created_at),
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
        "last_used_at": _time(key.last_used_at),
    }


def _print(every: list[ApiKey]) -> None:
    columns = "id", "owner", "name", "scopes", "state", "expires", "last used"
    rows = [
        (
            *(key.id, key.owner, key.name, " ".join(sorted(key.scopes)), _state(key)),
            *(_time(key.expires_at) or "never", _time(key.last_used_at) or "never"),
        )
        for key in every
    ]
    print_table(columns, rows)


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expired(time.time()) else "active"


def _time(at: float | None) -> str | None:
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _say(words: str) -> None:
    Console(stderr=True).print(words, soft_wrap=True, markup=False, highlight=False)
