from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.kubernetes.names import MODEL, model_labels, object_name
from common.topic import model_of

DNS_1123 = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]")

alphanumeric = st.sampled_from(string.ascii_letters + string.digits)
rest = st.text(st.sampled_from(string.ascii_letters + string.digits + "._-"), max_size=70)
part = st.builds(str.__add__, alphanumeric, rest)
model_names = st.builds("{}/{}".format, part, part)


@given(model_names)
def test_every_model_has_a_legal_name_and_a_legal_label_or_none(model: str) -> None:
    assert DNS_1123.fullmatch(object_name(model))
    for label in model_labels(model).values():
        assert LABEL.fullmatch(label)
        assert model_of(label) == model


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Salesforce/blip", "salesforce/blip"),
        ("me/a.b", "me/a-b"),
        ("me/a_b", "me/a-b"),
        ("a/b-c", "a-b/c"),
        ("me/" + "x" * 60 + "1", "me/" + "x" * 60 + "2"),
    ],
)
def test_models_that_look_alike_have_different_names(one: str, other: str) -> None:
    assert object_name(one) != object_name(other)


def test_a_name_can_be_read_and_stays_as_it_is() -> None:
    name = object_name("Salesforce/blip-image-captioning-base")
    assert name == "consumer-salesforce-blip-image-captioning-base-3aa49df370"
    assert model_labels("Salesforce/blip-image-captioning-base") == {
        MODEL: "Salesforce--blip-image-captioning-base"
    }
