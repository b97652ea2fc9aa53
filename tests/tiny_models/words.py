"""Word-level tokenizers for the tiny models."""

from __future__ import annotations

from typing import Any

import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

PAD, UNK, BOS, EOS = range(4)
SPECIAL = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
WORDS = ["a", "an", "red", "green", "blue", "circle", "square", "star", "on", "of", "is", "what"]


def tokenizer(longest: int, *, closed: bool = True, extra: tuple[str, ...] = ()) -> Any:
    """Puts [BOS] before a text and, where it is `closed`, [EOS] after it."""
    words = [*SPECIAL, *WORDS, *extra]
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = WhitespaceSplit()
    backend.post_processor = TemplateProcessing(
        single="[BOS] $A [EOS]" if closed else "[BOS] $A",
        special_tokens=[("[BOS]", BOS), ("[EOS]", EOS)],
    )
    hf: Any = transformers
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        sep_token="[EOS]",
        additional_special_tokens=list(extra),
        model_max_length=longest,
    )
