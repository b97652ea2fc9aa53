"""The object store: `open_object_store` picks the adapter by the URL's scheme."""

from __future__ import annotations

from urllib.parse import urlsplit

from common.errors import SettingsInvalid
from common.object_store.base import ObjectInfo, ObjectStore
from common.server_url import shown

__all__ = ["ObjectInfo", "ObjectStore", "open_object_store"]


async def open_object_store(url: str) -> ObjectStore:
    """The store at `url`, made if it is missing.

    `file:///FOLDER` or `s3://BUCKET?endpoint=http://HOST:PORT[&region=…&public_endpoint=…&ca_file=…]`.
    Raises StoreUnavailable, and SettingsInvalid for a URL that makes no sense.
    """
    scheme = urlsplit(url).scheme
    if scheme == "file":
        from common.object_store.folder import FolderObjectStore

        return await FolderObjectStore.open(url)
    if scheme == "s3":
        from common.object_store.s3 import S3ObjectStore

        return await S3ObjectStore.open(url)
    raise SettingsInvalid(
        f"DARKROOM_OBJECT_STORE_URL: {shown(url)!r} is neither file:///FOLDER nor s3://BUCKET?endpoint=…"
    )
