"""Images that a request refers to instead of carrying them as a file."""

from __future__ import annotations

import binascii
import re

from api.database import files
from api.dependencies import Parts
from api.intake.pictures import Picture, check_picture
from api.intake.uploads import Hold
from api.problems import Problem
from common.job import is_url

MAX_DATA_URI = 256 * 1024  # characters
FILES_PATH = "/v1/files/"

_DATA_URI = re.compile(r"data:[^,;]*(?:;[^,;]+)*?;base64,", re.IGNORECASE)
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def referred_picture(
    reference: object, *, parts: Parts, owner: str, base: str, hold: Hold
) -> Picture | str:
    """The picture that `input.image` means, or a URL from which a consumer will fetch it.

    Raises Problem, UrlRefused, StoreUnavailable, ObjectMissing.
    """
    if not isinstance(reference, str):
        raise _invalid()
    if reference[:5].lower() == "data:":
        if len(reference) > MAX_DATA_URI:
            raise Problem(
                "data_uri_too_large",
                f"A data URI has at most {MAX_DATA_URI} bytes: send the image as a file of a "
                "multipart form, or upload it with POST /v1/files.",
            )
        content = decode_data_uri(reference)
        hold.add(len(content))
        return check_picture(content, parts.limits)
    file_id = reference.removeprefix(base + FILES_PATH)
    if _ID.fullmatch(file_id):
        return await _uploaded(file_id, parts, owner, hold)
    if is_url(reference):
        parts.url_guard.check(reference)
        return reference
    raise _invalid()


def decode_data_uri(uri: str) -> bytes:
    """The bytes of `data:…;base64,…`. Raises Problem `invalid_image`."""
    head = _DATA_URI.match(uri)
    if head is None:
        raise Problem("invalid_image", "The data URI is not base64: data:image/jpeg;base64,…")
    return decode_base64(uri[head.end() :])


def decode_base64(text: str) -> bytes:
    """Raises Problem `invalid_image`."""
    try:
        return binascii.a2b_base64(b"".join(text.encode("ascii").split()), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Problem("invalid_image", f"The image's base64 cannot be read: {error}.") from error


async def _uploaded(file_id: str, parts: Parts, owner: str, hold: Hold) -> Picture:
    """Its bytes are stored anew under the job's own key, so that no file's end takes its input."""
    async with parts.database.read() as connection:
        file = await files.get(connection, owner, file_id)
    if file is None:
        raise Problem("unknown_file", "There is no such file: upload it with POST /v1/files.")
    hold.add(file.size)
    content = await parts.store.get(file.key)
    return Picture(content=content, content_type=file.content_type, sha256=file.sha256)


def _invalid() -> Problem:
    return Problem(
        "invalid_image",
        "`image` is no URL, no data URI and no id of a file: send the picture as a file of a "
        "multipart form, or upload it with POST /v1/files and give its id.",
    )
