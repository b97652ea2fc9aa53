"""Captioners without a chat template: GIT, built as the bundled model is, and BLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.tiny_models.words import BOS, EOS, PAD, tokenizer

hf: Any = transformers

SIDE, WIDTH = 32, 32  # px, features a token
POSITIONS = 48  # of the text
_LAYERS: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_TOKENS = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
_SEES = {**_LAYERS, "image_size": SIDE, "patch_size": 8}
_IMAGES: dict[str, Any] = {
    "size": {"height": SIDE, "width": SIDE},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}


def build_tiny_git(folder: Path) -> None:
    """A GitForCausalLM with its processor."""
    torch.manual_seed(0)
    words = tokenizer(POSITIONS)
    config = hf.GitConfig(
        vision_config=_SEES,
        vocab_size=len(words),
        max_position_embeddings=POSITIONS,
        **_LAYERS,
        **_TOKENS,
    )
    hf.GitForCausalLM(config).save_pretrained(folder)
    images = CLIPImageProcessorPil(
        **_IMAGES, do_center_crop=False, crop_size={"height": SIDE, "width": SIDE}
    )
    hf.GitProcessor(images, words).save_pretrained(folder)


def build_tiny_blip(folder: Path) -> None:
    """A BlipForConditionalGeneration with its processor."""
    torch.manual_seed(0)
    words = tokenizer(POSITIONS)
    text = {
        **_LAYERS,
        **_TOKENS,
        "sep_token_id": EOS,
        "vocab_size": len(words),
        "encoder_hidden_size": WIDTH,
        "max_position_embeddings": POSITIONS,
        "projection_dim": WIDTH,
    }
    config = hf.BlipConfig(text_config=text, vision_config=_SEES, projection_dim=WIDTH)
    hf.BlipForConditionalGeneration(config).save_pretrained(folder)
    hf.BlipProcessor(BlipImageProcessorPil(**_IMAGES), words).save_pretrained(folder)
