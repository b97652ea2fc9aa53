"""A chat model that sees: LLaVA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.tiny_models.words import BOS, EOS, PAD, tokenizer

hf: Any = transformers

SIDE, PATCH, WIDTH = 32, 8, 32  # px, px, features a token
POSITIONS = 128  # of the text, the picture's 16 tokens included
_LAYERS: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_TEMPLATE = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def build_tiny_vlm(folder: Path) -> None:
    """A LlavaForConditionalGeneration whose processor has a chat template."""
    torch.manual_seed(0)
    words = tokenizer(POSITIONS, closed=False, extra=("<image>", "USER:", "ASSISTANT:"))
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(
            **_LAYERS, image_size=SIDE, patch_size=PATCH, projection_dim=WIDTH
        ),
        text_config=hf.LlamaConfig(
            **_LAYERS,
            vocab_size=len(words),
            max_position_embeddings=POSITIONS,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
        ),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    hf.LlavaForConditionalGeneration(config).save_pretrained(folder)
    square = {"height": SIDE, "width": SIDE}
    images = CLIPImageProcessorPil(size=square, crop_size=square, do_center_crop=False)
    hf.LlavaProcessor(
        image_processor=images,
        tokenizer=words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    ).save_pretrained(folder)
