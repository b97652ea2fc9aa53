"""Users' own models: a file each, with one class of CustomModel."""

from consumers.custom_infer.base import CustomModel

__all__ = ["CustomModel"]
