"""A user's own model that fails: an exception for a wide picture, death for a tall one."""

from __future__ import annotations

import os
import signal

from PIL import Image

from consumers.custom_infer import CustomModel


class Breaks(CustomModel):
    """Never has a result."""

    def infer(self, image: Image.Image) -> str:
        if image.width > image.height:
            raise RuntimeError("the picture is too wide")
        os.kill(os.getpid(), signal.SIGKILL)
        return ""
