"""What a key of the object store tells."""

from __future__ import annotations

from common.object_key import content_of, input_key, maker_of
from common.object_store.keys import check_key

ID, SHA256 = "019aa5f0-2c44-7b1e-9d6f-3f0c8a51e7d2", "ab" * 32


def test_an_inputs_key_is_new_each_time_and_tells_whose_it_is_and_of_what() -> None:
    keys = [input_key("local", ID, SHA256, 1_795_219_199.0) for _ in range(2)]
    assert keys[0] != keys[1]
    for key in keys:
        check_key(key)
        assert key.startswith("inputs/local/2026-11-20/")
        assert (maker_of(key), content_of(key)) == (ID, SHA256)


def test_an_outputs_key_tells_its_job() -> None:
    assert maker_of(f"outputs/{ID}/token/0.png") == ID
