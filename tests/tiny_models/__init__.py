"""Models of the real architectures, untrained and tiny: seconds to build, no network.

Each builder writes a folder as `save_pretrained` does, always with the same weights.
"""

from tests.tiny_models.captioners import build_tiny_blip, build_tiny_git
from tests.tiny_models.chat import build_tiny_vlm
from tests.tiny_models.diffusion import build_tiny_diffusion

__all__ = ["build_tiny_blip", "build_tiny_diffusion", "build_tiny_git", "build_tiny_vlm"]
