"""Files: upload an image once, use it in many jobs."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.database import files
from api.database.files import FileRow
from api.dependencies import base_of, owner_of, parts_of
from api.documentation import LEDGER, described
from api.intake.asking import check_metadata, decode
from api.intake.inputs import FILES_PATH
from api.intake.pictures import check_picture
from api.intake.uploads import Hold, read_form
from api.pages import PAGE, cursor_of, page_url
from api.presenting import iso_time
from api.problems import Problem
from api.replies import json_reply
from api.routes import examples
from api.schemas import FilePage, FileUrls, StoredFile
from api.submit import new_id
from common.job import JsonObject
from common.object_key import input_key

router = APIRouter(tags=["Files"])

_LONGEST_NAME = 255  # characters
_BODY = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["content"],
            "properties": {
                "content": {"type": "string", "format": "binary"},
                "metadata": {"type": "string", "description": "A JSON object of at most 16 kB."},
            },
        }
    }
}


@router.post(
    "/v1/files",
    **described(
        "invalid_json",
        "invalid_form",
        "body_too_large",
        "file_too_large",
        "unsupported_media_type",
        "not_an_image",
        "missing_image",
        "empty_file",
        "truncated_image",
        "image_too_large",
        "invalid_text",
        "metadata_too_large",
        "store_unavailable",
        "uploads_busy",
        *LEDGER,
        status=201,
        reply="StoredFile",
        example=examples.FILE,
        description="Stored",
        body=_BODY,
    ),
)
async def upload_file(request: Request) -> Response:
    """Store an image: the part `content` of a multipart form."""
    parts = parts_of(request)
    with parts.uploads.hold() as hold:
        file = await _store(request, hold)
    return json_reply(_present(request, file), 201)


@router.get(
    "/v1/files", **described("invalid_request", *LEDGER, reply="FilePage", example=examples.FILES)
)
async def list_files(
    request: Request,
    cursor: Annotated[str | None, Query(description="From `next`.")] = None,
) -> Response:
    """Files, newest first, 100 a page."""
    async with parts_of(request).database.read() as connection:
        page = await files.page(
            connection, owner=owner_of(request), cursor=cursor_of(cursor), limit=PAGE
        )
    base = base_of(request)
    body = FilePage(
        next=page_url(request, base, page.next),
        previous=None,
        results=[_present(request, file) for file in page.items],
    )
    return json_reply(body)


@router.get(
    "/v1/files/{file_id}",
    **described("unknown_file", *LEDGER, reply="StoredFile", example=examples.FILE),
)
async def get_file(request: Request, file_id: str) -> Response:
    """What is known of one file."""
    async with parts_of(request).database.read() as connection:
        file = await files.get(connection, owner_of(request), _id(file_id))
    if file is None:
        raise _unknown()
    return json_reply(_present(request, file))


@router.delete(
    "/v1/files/{file_id}",
    **described("unknown_file", *LEDGER, status=204, media_type="", description="Gone"),
)
async def delete_file(request: Request, file_id: str) -> Response:
    """Delete a file. Jobs that used it keep their input."""
    parts = parts_of(request)
    async with parts.database.write() as connection:
        file = await files.delete(connection, owner_of(request), _id(file_id))
    if file is None:
        raise _unknown()
    await parts.remover.delete_unwanted([file.key])
    return Response(status_code=204)


async def _store(request: Request, hold: Hold) -> FileRow:
    parts = parts_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise Problem(
            "unsupported_media_type", "Send multipart/form-data with the picture as `content`."
        )
    form = await read_form(request, hold, parts.limits)
    upload = form.files.get("content")
    if upload is None:
        raise Problem("missing_image", "The form has no file `content`: send the picture as that.")
    metadata: JsonObject = {}
    if "metadata" in form.fields:
        metadata = decode(form.fields["metadata"], dict[str, object])
        check_metadata(metadata)
    picture = check_picture(upload.content, parts.limits, sha256=upload.sha256)
    owner, now = owner_of(request), time.time()
    file_id = new_id()
    file = FileRow(
        id=file_id,
        owner=owner,
        name=upload.file_name[:_LONGEST_NAME] or "image",
        content_type=picture.content_type,
        size=len(picture.content),
        sha256=picture.sha256,
        key=input_key(owner, file_id, picture.sha256, now),
        metadata=metadata,
        created_at=now,
    )
    await parts.store.put(file.key, picture.content, picture.content_type)
    async with parts.database.write() as connection:
        await files.add(connection, file)
    return file


def _present(request: Request, file: FileRow) -> StoredFile:
    kept = parts_of(request).settings.result_seconds
    return StoredFile(
        id=file.id,
        name=file.name,
        content_type=file.content_type,
        size=file.size,
        etag=file.sha256,
        checksums={"sha256": file.sha256},
        metadata=file.metadata,
        created_at=iso_time(file.created_at),
        expires_at=iso_time(file.created_at + kept) if kept else None,
        urls=FileUrls(get=f"{base_of(request)}{FILES_PATH}{file.id}"),
    )


def _id(word: str) -> str:
    if "\0" in word:
        raise _unknown()
    return word


def _unknown() -> Problem:
    return Problem("unknown_file", "There is no such file: upload it with POST /v1/files.")
