"""A canary for every secret, searched for in all that is said on a whole journey."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.abuse import canary_stack
from tests.abuse.canaries import Overheard, Secret
from tests.abuse.secured import secured_servers


@pytest.mark.timeout(900)
def test_no_secret_is_said_on_a_whole_journey_but_where_it_is_to_be_read(tmp_path: Path) -> None:
    with secured_servers() as servers, canary_stack.on(servers, tmp_path) as journey:
        journey.make_keys()
        journey.make_webhooks()
        jobs = journey.run_jobs()
        journey.look_everywhere(jobs)
        journey.do_again(jobs)
        journey.break_things()

    assert journey.heard.leaks(journey.secrets) == []
    assert journey.heard.never_shown(journey.secrets) == []


def test_the_search_finds_what_is_said_in_the_wrong_place_and_what_is_said_nowhere() -> None:
    heard = Overheard()
    heard.hear("owner GET /link 200", "here is 12ab")
    heard.hear("log", "went to 12ab")

    link, password = Secret("link", "12ab", "owner .*"), Secret("password", "34cd", "never")
    assert heard.leaks([link, password]) == ["link in log: ...went to "]
    assert heard.never_shown([link, password]) == ["password"]
