"""Files that users uploaded, to use in many jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import Row, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from api.database.paging import Cursor, Page, beside, older, page_of
from api.database.rows import json_object, to_json
from api.database.tables import files
from common.job import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One uploaded file; its bytes lie in the object store."""

    id: str
    owner: str
    name: str
    content_type: str
    size: int  # bytes
    sha256: str
    key: str
    metadata: JsonObject
    created_at: float  # seconds since the epoch


async def add(connection: AsyncConnection, file: FileRow) -> None:
    columns = {name: getattr(file, name) for name in FileRow.__slots__}
    await connection.execute(insert(files), {**columns, "metadata": to_json(file.metadata)})


async def get(connection: AsyncConnection, owner: str, file_id: str) -> FileRow | None:
    """None for another owner's, too."""
    query = select(files).where(files.c.id == file_id, files.c.owner == owner)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _file_of(row)


async def page(
    connection: AsyncConnection, *, owner: str, cursor: Cursor | None, limit: int
) -> Page[FileRow]:
    """At most `limit` of the owner's files, from `cursor`, or the newest without one."""
    cursor = older(cursor)
    query = select(files).where(files.c.owner == owner)
    query = beside(query, files.c.created_at, files.c.id, cursor, limit + 1)
    found = [_file_of(row) for row in await connection.execute(query)]
    return page_of(found, lambda file: (file.created_at, file.id), cursor=cursor, limit=limit)


async def delete(connection: AsyncConnection, owner: str, file_id: str) -> FileRow | None:
    """The file that was there. Its bytes are not touched."""
    mine = files.c.id == file_id, files.c.owner == owner
    query = sqlalchemy.delete(files).where(*mine).returning(files)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _file_of(row)


def _file_of(row: Row[Any]) -> FileRow:
    columns = dict(row._mapping)
    return FileRow(**{**columns, "metadata": json_object(columns["metadata"])})
