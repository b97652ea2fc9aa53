from __future__ import annotations

import pytest

from common.errors import SettingsInvalid
from common.object_store import open_object_store
from common.object_store.s3 import S3Address, read_address

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "url",
    [
        "s3://?endpoint=http://h:1",
        "s3://Not_A_Bucket?endpoint=http://h:1",
        "s3://bucket/path?endpoint=http://h:1",
        "s3://bucket?endpoint=h:1",
        "s3://bucket?endpoint=http://h:1&colour=red",
        "s3://bucket?endpoint=http://h:1&public_endpoint=h",
        "file://objects",
        "ftp://bucket",
        "",
    ],
)
async def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="DARKROOM_OBJECT_STORE_URL"):
        await open_object_store(url)


def test_every_option_of_an_s3_url_is_read() -> None:
    url = "s3://b-1?endpoint=http://h:1&region=eu-west-1&public_endpoint=https://p.example"
    assert read_address(url) == S3Address(
        bucket="b-1",
        endpoint="http://h:1",
        public_endpoint="https://p.example",
        region="eu-west-1",
    )


def test_a_bucket_alone_is_amazons() -> None:
    assert read_address("s3://bucket") == S3Address(
        bucket="bucket", endpoint=None, public_endpoint=None, region="us-east-1"
    )
