"""Text generation by transformers: what a model is given, and a watch over its tokens."""

from __future__ import annotations

import time
from typing import Any

import torch
from PIL.Image import Image
from transformers import StoppingCriteria

from common.errors import BadInput
from common.parameters import ImageToTextParameters
from consumers.engines.base import Run

CHAT_PROMPT = "Generate a caption for the image."
_PROGRESS_SECONDS = 0.25


class Watch(StoppingCriteria):
    """Called after each token: tells the progress, and stops when the job was canceled."""

    def __init__(
        self, id: str, run: Run, longest: int, *, every_seconds: float = _PROGRESS_SECONDS
    ) -> None:
        self._id, self._run, self._longest = id, run, longest
        self._every_seconds = every_seconds
        self._told = time.monotonic()
        self.canceled = False
        self.start = -1  # how many tokens of the sequence were given to the model

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Whether to stop, for each row."""
        if self.start < 0:
            self.start = input_ids.shape[1] - 1
        self.canceled = self.canceled or self._run.canceled(self._id)
        now = time.monotonic()
        if now - self._told >= self._every_seconds:
            self._run.progress(self._id, (input_ids.shape[1] - self.start) / self._longest)
            self._told = now
        return torch.full((len(input_ids),), self.canceled, device=input_ids.device)


def prepare(processor: Any, network: Any, picture: Image, prompt: str) -> Any:
    """The model's inputs for one picture, on its device. Raises BadInput."""
    token = getattr(processor, "image_token", None)
    if token and token in prompt:
        raise BadInput(
            f"The prompt holds {token}, which stands for the picture itself: remove it.",
            code="invalid_parameter",
        )
    try:
        if getattr(processor, "chat_template", None):
            inputs = _question(processor, picture, prompt or CHAT_PROMPT)
        else:
            inputs = _beginning(processor, network, picture, prompt)
    except ValueError as error:  # such as a side ratio that the model was not made for
        raise BadInput(f"The model does not take this input ({error}): send another.") from error
    return inputs.to(network.device, network.dtype)


def check_template(processor: Any) -> None:
    """Raises whatever a chat template raises: it is the model's, and may hold anything."""
    if getattr(processor, "chat_template", None):
        content = [{"type": "image"}, {"type": "text", "text": CHAT_PROMPT}]
        processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)


def room(network: Any, inputs: Any) -> int:
    """How many tokens the model can add to its inputs. Raises BadInput where there is no room.

    Past its last position a model reads outside its tables, which on a GPU takes the process down.
    """
    positions = getattr(network.config.get_text_config(), "max_position_embeddings", None)
    given = inputs["input_ids"].shape[1] if "input_ids" in inputs else 1
    if positions is not None and given >= positions:
        raise BadInput(
            f"The prompt and the picture take {given} tokens, the model has room for "
            f"{positions}: shorten the prompt.",
            code="invalid_parameter",
        )
    return 2**31 if positions is None else int(positions - given)


def sampling(wanted: ImageToTextParameters) -> dict[str, Any]:
    """The arguments of `generate` that say how a token is chosen."""
    if wanted.temperature == 0:
        return {"do_sample": False, "num_beams": wanted.num_beams}
    return {
        "do_sample": True,
        "num_beams": wanted.num_beams,
        "temperature": wanted.temperature,
        "top_p": wanted.top_p,
    }


def printable(text: str) -> str:
    """Without the blanks around it, and without what no UTF-8 text can hold."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode("utf-8").strip()


def _question(processor: Any, picture: Image, prompt: str) -> Any:
    content = [{"type": "image", "image": picture}, {"type": "text", "text": prompt}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )


def _beginning(processor: Any, network: Any, picture: Image, prompt: str) -> Any:
    if not prompt:
        return processor(images=picture, return_tensors="pt")
    inputs = processor(images=picture, text=prompt, return_tensors="pt")
    if network.config.model_type == "git":
        # GIT goes on from what it reads, and would take the closing token for the end.
        inputs["input_ids"] = inputs["input_ids"][:, :-1]
        inputs["attention_mask"] = inputs["attention_mask"][:, :-1]
        inputs.pop("token_type_ids", None)
    return inputs
