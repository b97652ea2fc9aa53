"""Texts of any characters: shown again as they were sent, or refused with what to do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.problems import CODES
from common.settings import Settings
from tests.abuse.bad_files import picture
from tests.abuse.conftest import echo_catalogue
from tests.integration.api.running import Api, running_api
from tests.ledger import DIALECTS, fresh_postgres

pytestmark = pytest.mark.anyio

MODEL = "darkroom/echo"
MEBIBYTE = "ä" * 2**19
TEXTS = {
    "control characters": "a" + "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f\u2028z",
    "marks of direction": "\u202egnp.exe\u202c \u200f\u2066abc\u2069",
    "no characters at all": "\ufdd0\ufffe\uffff\U0010ffff",
    "marks without letters": "\u0301\u0301\u200d\u200c\ufeff\U000e0001",
    "letters of many parts": "e\u0301 é 👩‍👩‍👧 Ǆ ﬀ İ ß",
    "a statement": "'); DROP TABLE jobs; -- \" \\ %s %(a)s :a ? {0} ${a}",
    "a header": "a\r\nSet-Cookie: a=b\r\n\r\n<script>",
}
# What holds it, in a body of JSON.
FIELDS: dict[str, Any] = {
    "model": lambda text: {"model": text},
    "version": lambda text: {"version": text},
    "priority": lambda text: {"model": MODEL, "priority": text},
    "prompt": lambda text: {"model": MODEL, "input": {"prompt": text}},
    "a parameter's name": lambda text: {"model": MODEL, "input": {text: "a"}},
    "image": lambda text: {"model": MODEL, "input": {"image": text}},
    "label": lambda text: {"model": MODEL, "labels": [text]},
    "metadata": lambda text: {"model": MODEL, "metadata": {"a": [text]}},
    "a key of metadata": lambda text: {"model": MODEL, "metadata": {text: 1}},
    "webhook": lambda text: {"model": MODEL, "webhook": f"https://example.org/{text}"},
    "event": lambda text: {"model": MODEL, "webhook_events_filter": [text]},
    "a field's name": lambda text: {"model": MODEL, text: "a"},
}
REFUSED = {"NUL": "a\0b", "half of a character": "a\ud800b", "a mebibyte": MEBIBYTE}


@pytest.fixture(scope="module", params=DIALECTS)
async def api(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """The application on a ledger of each dialect."""
    folder: Path = tmp_path_factory.mktemp("texts")
    ledger = f"sqlite+aiosqlite:///{folder}/data/ledger.sqlite"
    if request.param == "postgres":
        servers: dict[str, str] = request.getfixturevalue("servers")
        ledger = await fresh_postgres(servers["DARKROOM_DATABASE_URL"])
    settings = Settings(
        data_dir=folder / "data",
        job_log_url=f"sqlite:///{folder}/data/log.sqlite",
        object_store_url=f"file://{folder}/data/objects",
        database_url=ledger,
        model_names=echo_catalogue(folder)["DARKROOM_MODEL_NAMES"],
        title_model=MODEL,
    )
    async with running_api(settings) as running:
        yield running


# First, while nothing is kept.
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", REFUSED)
async def test_what_no_field_can_hold_is_refused(api: Api, kind: str, field: str) -> None:
    content = json.dumps(FIELDS[field](REFUSED[kind]), ensure_ascii=kind != "a mebibyte")
    reply = await api.client.post(
        "/v1/predictions", content=content, headers={"Content-Type": "application/json"}
    )
    problem = reply.json()
    assert 400 <= reply.status_code < 500, reply.text[:500]
    assert reply.status_code == problem["status"]
    assert problem["code"] in CODES
    assert problem["detail"]
    assert len(reply.content) < 3000  # what came in does not come back
    assert await api.nothing_kept()


async def upload(api: Api, path: str, part: str, name: str) -> Any:
    """The reply to a form that is written here: HTTP's clients escape what is strange in a name."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    head = f'--b\r\nContent-Disposition: form-data; name="{part}"; filename="{quoted}"\r\n\r\n'
    model = f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{MODEL}\r\n'
    return await api.client.post(
        path,
        content=(model + head).encode() + picture("PNG") + b"\r\n--b--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )


async def test_a_files_name_that_holds_nul_is_refused(api: Api) -> None:
    for path, part in (("/v1/files", "content"), ("/v1/predictions", "image")):
        reply = await upload(api, path, part, "a\0b.png")
        assert reply.status_code == 422, reply.text
        assert reply.json()["code"] == "invalid_text"
    assert await api.nothing_kept()


@pytest.mark.parametrize("name", TEXTS)
async def test_any_other_text_is_shown_again_as_it_was_sent(api: Api, name: str) -> None:
    text = TEXTS[name]
    metadata = {text: [text, {"a": text}]}
    asked = {"model": MODEL, "input": {"prompt": text}, "labels": [text], "metadata": metadata}
    form = {
        "model": MODEL,
        "prompt": text,
        "labels": json.dumps([text]),
        "metadata": json.dumps(metadata),
    }
    made = [
        await api.client.post("/v1/predictions", json=asked),
        await api.client.post("/v1/predictions", files={k: (None, v) for k, v in form.items()}),
    ]
    for reply in made:
        assert reply.status_code == 202, reply.text
        shown = await api.get(reply.json())
        assert shown["input"] == {"prompt": text}
        assert shown["labels"] == [text]
        assert shown["metadata"] == metadata
    found = await api.client.get("/v1/predictions", params={"label": text})
    assert {job["id"] for job in found.json()["results"]} == {r.json()["id"] for r in made}


@pytest.mark.parametrize("name", TEXTS)
async def test_a_files_name_is_shown_again_as_it_was_sent(api: Api, name: str) -> None:
    text = TEXTS[name].replace("\r", "").replace("\n", "")  # a part's header is one line
    reply = await upload(api, "/v1/files", "content", text)
    assert reply.status_code == 201, reply.text
    assert reply.json()["name"] == text
    assert (await api.client.get(reply.json()["urls"]["get"])).json()["name"] == text
