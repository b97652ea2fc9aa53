"""A diffusion pipeline for image to image: Stable Diffusion's parts, each as small as they go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

hf: Any = transformers
df: Any = diffusers

_WIDTH = 32  # features a token


def build_tiny_diffusion(folder: Path) -> None:
    """A StableDiffusionImg2ImgPipeline; its latents are half as wide and high as the picture."""
    torch.manual_seed(0)
    words = _tokenizer()
    pipeline = df.StableDiffusionImg2ImgPipeline(
        vae=_autoencoder(),
        text_encoder=_text_encoder(len(words)),
        tokenizer=words,
        unet=_unet(),
        scheduler=df.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def _autoencoder() -> Any:
    return df.AutoencoderKL(
        block_out_channels=[8, 8],
        norm_num_groups=4,
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        sample_size=32,
    )


def _unet() -> Any:
    return df.UNet2DConditionModel(
        block_out_channels=[8, 16],
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=_WIDTH,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        sample_size=16,
    )


def _text_encoder(words: int) -> Any:
    config = hf.CLIPTextConfig(
        vocab_size=words,
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return hf.CLIPTextModel(config)


def _tokenizer() -> Any:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{one}</w>" for one in letters)]
    return hf.CLIPTokenizer(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=77
    )
