"""Pages of lists, as requests ask for them and as replies lead on to the next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from api.database.paging import Cursor
from api.problems import Problem

PAGE = 100  # items


def _no_number(word: object) -> object:
    """Pydantic takes a number for seconds or milliseconds, by its size."""
    try:
        float(str(word))
    except ValueError:
        return word
    raise PydanticCustomError("datetime_from_number", "Input is a number and no time.")


Moment = Annotated[datetime, BeforeValidator(_no_number)]  # of a filter


def cursor_of(word: str | None) -> Cursor | None:
    """Raises Problem for a word that no page of ours gave."""
    try:
        return None if word is None else Cursor.decode(word)
    except ValueError as error:
        raise Problem(
            "invalid_request", f"cursor: {error}: take it from `next` or `previous`."
        ) from error


def page_url(request: Request, base: str, cursor: Cursor | None) -> str | None:
    """The request's own URL, at another cursor."""
    if cursor is None:
        return None
    query = {**request.query_params, "cursor": cursor.encode()}
    return f"{base}{request.url.path}?{urlencode(query)}"


def seconds_of(moment: datetime | None) -> float | None:
    """A filter's time in seconds since the epoch; one without a zone is UTC."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
