"""The class that a user's own model derives from."""

from __future__ import annotations

from abc import ABC, abstractmethod

from PIL.Image import Image


class CustomModel(ABC):
    """A model in a few lines of Python. docs/custom-models.md shows how to write one."""

    def load(self) -> None:  # noqa: B027  a model without weights has nothing to load
        """Called once, before the first picture. An exception keeps the model from starting."""

    @abstractmethod
    def infer(self, image: Image) -> str | Image:
        """A text or a picture for `image`, which is upright sRGB (mode RGB) of any size.

        An exception fails this one job; its last line is shown to the user.
        """
