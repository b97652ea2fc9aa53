"""Whether an object store works, for diagnosis: neither bucket nor folder is made."""

from __future__ import annotations

import uuid
from pathlib import Path
from urllib.parse import urlsplit

from common.errors import SettingsInvalid, StoreUnavailable
from common.object_store.base import ObjectStore
from common.server_url import shown

_CONTENT = b"darkroom doctor"


async def try_object_store(url: str) -> str:
    """Put, read and delete a small object; returns what answered.

    Raises StoreUnavailable, also where the bucket or folder is missing, and SettingsInvalid.
    """
    store, what = _opened(url)
    key = f"doctor/{uuid.uuid4().hex}"
    await store.put(key, _CONTENT, "text/plain")
    try:
        if await store.get(key) != _CONTENT:
            raise StoreUnavailable(f"{what} gives back other bytes than it was given")
    finally:
        await store.delete(key)
    return what


def endpoint_of(url: str) -> str | None:
    """The server's http(s) address, where the store is one with an address of its own."""
    if urlsplit(url).scheme != "s3":
        return None
    from common.object_store.s3 import read_address

    return read_address(url).endpoint


def _opened(url: str) -> tuple[ObjectStore, str]:
    scheme = urlsplit(url).scheme
    if scheme == "s3":
        from common.object_store.s3 import S3ObjectStore, read_address

        address = read_address(url)
        where = address.endpoint or "Amazon S3"
        return S3ObjectStore(address), f"bucket {address.bucket} at {where}"
    if scheme == "file":
        from common.object_store.folder import FolderObjectStore

        folder = Path(url.removeprefix("file://"))
        if not folder.is_dir():
            raise StoreUnavailable(f"there is no folder {folder}")
        return FolderObjectStore(folder), f"folder {folder}"
    raise SettingsInvalid(
        f"DARKROOM_OBJECT_STORE_URL: {shown(url)!r} is neither file:///FOLDER nor s3://BUCKET?endpoint=…"
    )
