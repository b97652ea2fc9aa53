"""The captioner's parts as transformers objects: configuration, tokenizer and image processor."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from .draw import BACKGROUNDS, COLOURS, SHAPES

hf: Any = transformers  # most of its constructors carry no types

SIDE, PATCH, WIDTH = 64, 8, 128  # px, px, features a token
GRID = SIDE // PATCH
IMAGE_TOKENS = GRID * GRID + 1  # the class token comes first
LENGTH = 14  # tokens of the longest caption, [BOS] and [EOS] included
RESAMPLE = 2  # Pillow's BILINEAR, which averages when it shrinks
PAD, UNK, BOS, EOS = range(4)
SPECIAL = ("[PAD]", "[UNK]", "[BOS]", "[EOS]")


def vocabulary() -> dict[str, int]:
    """Word to id: the special tokens, then every word a caption can hold."""
    words = ["a", "an", "above", "left", "of", "on", "background"]
    words += [*sorted(BACKGROUNDS), *sorted(COLOURS), *SHAPES]
    return {word: index for index, word in enumerate((*SPECIAL, *words))}


def tokenizer() -> Any:
    """A word-level tokenizer that puts [BOS] and [EOS] around a caption."""
    words = Tokenizer(WordLevel(vocabulary(), unk_token="[UNK]"))
    words.pre_tokenizer = WhitespaceSplit()
    words.post_processor = TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", BOS), ("[EOS]", EOS)]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        model_max_length=LENGTH,
        clean_up_tokenization_spaces=False,
    )


def processor() -> Any:
    """The processor: any RGB image to (3, 64, 64) in [-1, 1], resized without cropping."""
    images = CLIPImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        resample=RESAMPLE,
        do_center_crop=False,
        crop_size={"height": SIDE, "width": SIDE},  # unused; the default says 224
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return hf.GitProcessor(images, tokenizer())


def model() -> Any:
    """The captioner, not trained: some 1.4 M float32 parameters."""
    config = hf.GitConfig(
        vision_config={
            "hidden_size": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        vocab_size=len(vocabulary()),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    captioner = hf.GitForCausalLM(config)
    captioner.generation_config = hf.GenerationConfig(
        max_new_tokens=20, do_sample=False, pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS
    )
    return captioner


def to_pixel_values(levels: torch.Tensor) -> torch.Tensor:
    """(n, 64, 64, 3) uint8 to (n, 3, 64, 64) float32 in [-1, 1], as the processor does."""
    return levels.permute(0, 3, 1, 2).float() / 127.5 - 1.0
