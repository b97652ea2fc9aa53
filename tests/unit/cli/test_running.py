from __future__ import annotations

import asyncio
import os
import signal

import pytest

from cli.errors import NotAllowed, ServerUnavailable, UsageWrong
from cli.exit_codes import ExitCode
from cli.running import for_each, run


async def succeed() -> ExitCode:
    return ExitCode.SOME_FAILED


async def fail(error: Exception) -> ExitCode:
    raise error


async def interrupt_itself(cleaned: list[str]) -> ExitCode:
    os.kill(os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0)
        cleaned.append("yes")
    return ExitCode.OK


def test_a_command_ends_with_its_own_exit_code() -> None:
    assert run(succeed(), interrupted="") == 1


@pytest.mark.parametrize(
    ("error", "code"), [(UsageWrong, 2), (NotAllowed, 3), (ServerUnavailable, 4), (OSError, 1)]
)
def test_an_error_ends_with_its_exit_code_and_its_message(
    error: type[Exception], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(fail(error("what to do [now]")), interrupted="") == code
    assert capsys.readouterr().err == "what to do [now]\n"


def test_an_interrupt_lets_the_command_clean_up(capsys: pytest.CaptureFixture[str]) -> None:
    cleaned: list[str] = []
    assert run(interrupt_itself(cleaned), interrupted="Again goes on.") == 130
    assert cleaned == ["yes"]
    assert capsys.readouterr().err == "Again goes on.\n"


@pytest.mark.anyio
async def test_each_item_is_worked_on_once_and_not_too_many_at_a_time() -> None:
    running, most, seen = 0, 0, []

    async def work(item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        seen.append(item)
        running -= 1

    await for_each(range(50), work, at_once=4)
    assert sorted(seen) == list(range(50))
    assert most == 4


@pytest.mark.anyio
async def test_the_first_error_stops_the_others() -> None:
    begun = []

    async def work(item: int) -> None:
        begun.append(item)
        await asyncio.sleep(0)
        if item == 3:
            raise UsageWrong("three")
        await asyncio.sleep(60)

    with pytest.raises(UsageWrong, match="three"):
        await for_each(range(100), work, at_once=4)
    assert begun == [0, 1, 2, 3]
