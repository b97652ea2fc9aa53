"""What a model's objects are called: legal, its own, and with a way back to the model."""

from __future__ import annotations

import hashlib
import re

from common.topic import slug

MODEL = "darkroom/model"  # the annotation that holds the model's name as it is
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
_READABLE = 40  # characters, so that the whole fits a label's 63
_HASH = 10  # hex digits


def object_name(model: str) -> str:
    """A DNS-1123 label. It depends on the model alone, so that a new model renames no other."""
    readable = re.sub(r"[^a-z0-9]+", "-", model.lower())[:_READABLE].strip("-")
    return f"consumer-{readable}-{hashlib.sha256(model.encode()).hexdigest()[:_HASH]}"


def model_labels(model: str) -> dict[str, str]:
    """The model as a label, to select by; without one where a label cannot hold it.

    It is the model's slug, which `common.topic.model_of` turns back.
    """
    return {MODEL: slug(model)} if _LABEL.fullmatch(slug(model)) else {}
