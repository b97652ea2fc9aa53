"""The object store on anything that speaks S3."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from common.errors import ObjectMissing, SettingsInvalid, StoreUnavailable
from common.object_store.base import ObjectInfo, ObjectStore
from common.object_store.keys import check_key, check_prefix, folder_of
from common.server_url import shown, tls_context

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

SETTING = "DARKROOM_OBJECT_STORE_URL"
CONNECT_TIMEOUT_S = 2
REQUEST_TIMEOUT_S = 15  # for the whole of a request, body included
RETRIES = 2  # after a refused connection or a 5xx; a second or so in all
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NEVER_PUT = ".is-the-bucket-there"
_REFUSED = re.compile(r"40[13] (?:Forbidden|Unauthorized)|169\.254\.169\.254")
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
_CODE = re.compile(r"<Code>(\w+)</Code>")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Address:
    """Where the bucket is, as the URL of the setting says."""

    bucket: str
    endpoint: str | None  # None: Amazon's own, by region
    public_endpoint: str | None  # as users reach it; None: like the endpoint
    region: str
    ca_file: str | None = None  # the authority of the endpoints' certificate, beside the system's


def read_address(url: str) -> S3Address:
    """`s3://BUCKET?endpoint=…[&region=…&public_endpoint=…&ca_file=…]`. Raises SettingsInvalid."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    address = S3Address(
        bucket=parts.netloc,
        endpoint=options.pop("endpoint", None),
        public_endpoint=options.pop("public_endpoint", None),
        region=options.pop("region", "us-east-1"),
        ca_file=options.pop("ca_file", None),
    )
    if not _BUCKET.fullmatch(address.bucket) or parts.path.strip("/") or options:
        raise SettingsInvalid(
            f"{SETTING}: {shown(url)!r} is not s3://BUCKET?endpoint=http://HOST:PORT with region=, "
            "public_endpoint= and ca_file= as the only other options; the credentials are "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    for endpoint in (address.endpoint, address.public_endpoint):
        if endpoint is not None and not re.fullmatch(r"https?://[^/?#@]+/?", endpoint):
            raise SettingsInvalid(
                f"{SETTING}: the endpoint {shown(endpoint)!r} is not http://HOST:PORT"
            )
    if address.ca_file is not None:
        tls_context(SETTING, address.ca_file)  # it can be read, and holds certificates
    return address


class BucketMissing(StoreUnavailable):
    """The store answered: there is no such bucket."""


class Refused(StoreUnavailable):
    """The store refuses our keys, or we its certificate. At the start that is a wrong setting."""


class S3ObjectStore(ObjectStore):
    """One bucket. Credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""

    def __init__(self, address: S3Address) -> None:
        self._address = address
        self._store = _client(address, address.endpoint)
        self._public = _client(address, address.public_endpoint or address.endpoint)

    @classmethod
    async def open(cls, url: str) -> S3ObjectStore:
        """The bucket at `url`, made if missing. Raises StoreUnavailable, SettingsInvalid."""
        store = cls(read_address(url))
        try:
            await store._make_bucket()
        except Refused as error:
            raise SettingsInvalid(f"{SETTING}: {error}") from error
        return store

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        check_key(key)
        with self._available():
            await obstore.put_async(
                self._store,
                key,
                content,
                attributes={"Content-Type": content_type},
                use_multipart=False,
            )

    async def get(self, key: str) -> bytes:
        check_key(key)
        with self._available(key):
            reply = await obstore.get_async(self._store, key)
            return (await reply.bytes_async()).to_bytes()

    async def link(self, key: str, *, expires_in: int) -> str | None:
        check_key(key)
        with self._available():
            return await obstore.sign_async(self._public, "GET", key, timedelta(seconds=expires_in))

    async def delete(self, key: str) -> None:
        check_key(key)
        with self._available():
            await obstore.delete_async(self._store, key)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        # obstore takes whole parts as a prefix, and drops a trailing slash.
        chunks = obstore.list(self._store, folder_of(prefix) or None, chunk_size=1000)
        with self._available():
            async for chunk in chunks:
                for entry in chunk:
                    if entry["path"].startswith(prefix):
                        yield ObjectInfo(
                            key=entry["path"],
                            size=entry["size"],
                            modified_at=entry["last_modified"].timestamp(),
                        )

    async def _make_bucket(self) -> None:
        try:
            with self._available(_NEVER_PUT):
                await obstore.get_async(self._store, _NEVER_PUT)
        except ObjectMissing:
            return
        except BucketMissing:
            await asyncio.to_thread(_create_bucket, self._address)

    @contextmanager
    def _available(self, key: str | None = None) -> Iterator[None]:
        """Translate obstore's errors. Only a read names its `key`: only a read can miss one."""
        try:
            yield
        except (BaseError, OSError) as error:
            raise self._translated(error, key) from error

    def _translated(self, error: Exception, key: str | None) -> Exception:
        text = str(error)
        code = _CODE.search(text)
        where = f"bucket {self._address.bucket} at {self._address.endpoint or 'Amazon S3'}"
        if code and code[1] == "NoSuchBucket":
            return BucketMissing(f"{where}: there is no such bucket; a restart makes it")
        if isinstance(error, FileNotFoundError) and key is not None:
            return ObjectMissing(key)
        if _REFUSED.search(text):
            return Refused(
                f"{where} refuses the credentials ({code[1] if code else 'none given'}): set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a pair that may use this bucket"
            )
        if wrong := _CERTIFICATE.search(text):
            return Refused(
                f"{where}: its certificate is not trusted ({wrong[1]}): name its authority's file "
                f"by ca_file= in {SETTING}"
            )
        return StoreUnavailable(f"{where}: {text.partition(chr(10))[0]}")


def _client(address: S3Address, endpoint: str | None) -> S3Store:
    """Opens no connection. What is not given here, credentials too, comes from AWS_… variables."""
    config: S3Config = {
        "region": address.region,
        "virtual_hosted_style_request": False,
        "disable_bulk_delete": True,
        # Else each put hashes its bytes once more, a tenth of what an upload costs the API. TLS
        # guards them on the way, and the key of an input is their own hash.
        "unsigned_payload": True,
    }
    if endpoint is not None:
        config["aws_endpoint_url_s3"] = endpoint.rstrip("/")
    client_options: ClientConfig = {
        "allow_http": True,
        "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
        "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
    }
    if address.ca_file is not None:
        client_options["root_certificate"] = Path(address.ca_file).read_bytes()
    return S3Store(
        address.bucket,
        config=config,
        client_options=client_options,
        retry_config={
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
            "backoff": {"init_backoff": timedelta(milliseconds=100)},
        },
    )


def _create_bucket(address: S3Address) -> None:
    """By boto3, which obstore cannot replace here. Fine if another process was faster."""
    import boto3  # not above: it costs 20 MB, and a bucket is made once
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.Session().client(  # boto3's own session keeps the first credentials it saw
        "s3",
        endpoint_url=address.endpoint,
        region_name=address.region,
        verify=address.ca_file,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=REQUEST_TIMEOUT_S,
            retries={"total_max_attempts": RETRIES + 1},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    options: dict[str, Any] = {}
    if address.region != "us-east-1":  # the one region that S3 refuses to be told
        options["CreateBucketConfiguration"] = {"LocationConstraint": address.region}
    try:
        client.create_bucket(Bucket=address.bucket, **options)
    except client.exceptions.BucketAlreadyOwnedByYou:
        pass
    except (BotoCoreError, ClientError) as error:
        raise StoreUnavailable(f"bucket {address.bucket} could not be made: {error}") from error
    finally:
        client.close()
