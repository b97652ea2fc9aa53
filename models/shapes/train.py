"""Trains the captioner `darkroom/shapes` on pictures drawn as it goes.

    python -m models.shapes.train --out DIR --seed 7

The caption's loss alone learns the words and stays at chance on order and relation. So the vision
part is trained first, by two linear heads over its patch tokens that are thrown away afterwards:
what covers the patch, and the part that it plays in the caption. Then captions and both heads
together, and at last on pictures that go a little beyond the stated limits as well.
DIR/checkpoint.pt is written every 500 steps, and the same command goes on from it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from . import build
from .draw import COVERS, ROLES, STATED, WIDER, caption_of, draw, draw_picture, patch_labels

BATCH = 64
EVERY = 500  # steps between checkpoints
WARM_UP = 200  # steps, in each phase
RATES = (2e-3, 1e-3, 1e-3)  # at each phase's top: vision, captions, beyond the limits
HELD_OUT = 500  # pictures looked at with each checkpoint
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
Lengths = tuple[int, int, int]  # steps in each phase


def phase_at(step: int, lengths: Lengths) -> tuple[int, int]:
    """The phase that `step` falls in, and how many of that phase's steps come before it."""
    phase = 0
    while phase < len(lengths) - 1 and step >= lengths[phase]:
        step -= lengths[phase]
        phase += 1
    return phase, step


def shrink(image: Image.Image) -> Tensor:
    """(64, 64, 3) uint8, resized as the processor resizes."""
    side = build.SIDE
    small = image.resize((side, side), Image.Resampling(build.RESAMPLE))
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(side, side, 3)


class Pictures(Dataset[Batch]):
    """Batch number `step`: levels (64, 64, 64, 3), words (64, 14), cover and role (64, 64)."""

    def __init__(self, seed: int, lengths: Lengths) -> None:
        self.seed, self.lengths = seed, lengths
        self.words = build.vocabulary()

    def __len__(self) -> int:
        return sum(self.lengths)

    def __getitem__(self, step: int) -> Batch:
        levels, words, covers, roles = [], [], [], []
        limits = WIDER if phase_at(step, self.lengths)[0] == 2 else STATED
        for row in range(BATCH):
            # Large canvases cost the most to draw and look the same at 64 px: a fifth suffices.
            largest = 1024 if row % 5 == 0 else 400
            image, picture = draw_picture(f"train {self.seed} {step} {row}", largest, limits)
            cover, role = patch_labels(picture, build.GRID, build.PATCH)
            ids = [build.BOS, *(self.words[w] for w in caption_of(picture).split()), build.EOS]
            levels.append(shrink(image))
            words.append(ids + [build.PAD] * (build.LENGTH - len(ids)))
            covers.append(cover)
            roles.append(role)
        return torch.stack(levels), torch.tensor(words), torch.tensor(covers), torch.tensor(roles)


class Trainee(nn.Module):
    """The captioner and the two heads that teach its vision part."""

    def __init__(self) -> None:
        super().__init__()
        self.captioner = build.model()
        self.cover = nn.Linear(build.WIDTH, COVERS)
        self.role = nn.Linear(build.WIDTH, ROLES)
        self.tokens = torch.empty(0)  # (n, 65, 128), the vision part's last output
        self.captioner.git.image_encoder.register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: object, output: Any) -> None:
        self.tokens = output.last_hidden_state

    def _patch_losses(self, cover: Tensor, role: Tensor) -> list[Tensor]:
        """Both heads' loss over the tokens kept last."""
        patches = self.tokens[:, 1:]
        return [
            cross_entropy(self.cover(patches).flatten(0, 1), cover.flatten()),
            cross_entropy(self.role(patches).flatten(0, 1), role.flatten()),
        ]

    def losses(self, batch: Batch, captions: bool) -> list[Tensor]:
        """Cover, role and, where asked for, caption loss."""
        levels, words, cover, role = batch
        pixels = build.to_pixel_values(levels)
        if not captions:
            self.captioner.git.image_encoder(pixels)
            return self._patch_losses(cover, role)
        logits = self.captioner(input_ids=words, pixel_values=pixels, use_cache=False).logits
        guesses = logits[:, build.IMAGE_TOKENS : -1].flatten(0, 1)
        spoken = cross_entropy(guesses, words[:, 1:].flatten(), ignore_index=build.PAD)
        return [*self._patch_losses(cover, role), spoken]


def rate_at(step: int, lengths: Lengths) -> float:
    """Learning rate: in each phase a linear warm-up, then a cosine to 1 % of the top."""
    phase, step = phase_at(step, lengths)
    top, length = RATES[phase], lengths[phase]
    if step < WARM_UP:
        return top * (step + 1) / WARM_UP
    share = (step - WARM_UP) / max(1, length - WARM_UP)
    return top * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)


@torch.no_grad()
def held_out(captioner: Any, seed: int) -> float:
    """Share of HELD_OUT pictures, none of them trained on, whose caption is exactly right."""
    captioner.eval()
    words, right = build.tokenizer(), 0
    for first in range(0, HELD_OUT, 100):
        drawn = [draw(f"held out {seed} {first + i}") for i in range(100)]
        pixels = build.to_pixel_values(torch.stack([shrink(image) for image, _ in drawn]))
        ids = captioner.generate(pixel_values=pixels)
        said = words.batch_decode(ids, skip_special_tokens=True)
        right += sum(one == caption for one, (_, caption) in zip(said, drawn, strict=True))
    captioner.train()
    return right / HELD_OUT


def _optimiser_of(trainee: Trainee) -> torch.optim.AdamW:
    """AdamW that decays matrices only."""
    every = list(trainee.parameters())
    groups = [
        {"params": [p for p in every if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in every if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


@dataclass
class Progress:
    """What a checkpoint holds: `step` steps done in `seconds` of wall time."""

    trainee: Trainee
    optimiser: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0

    def store(self, path: Path) -> None:
        """Write all of it to `path`."""
        kept = {
            "trainee": self.trainee.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(kept, path)

    def resume(self, path: Path) -> None:
        """Take over what `store` wrote."""
        kept = torch.load(path)
        self.trainee.load_state_dict(kept["trainee"])
        self.optimiser.load_state_dict(kept["optimiser"])
        self.step, self.seconds = kept["step"], kept["seconds"]


def _learn(now: Progress, batch: Batch, captions: bool, rate: float) -> list[float]:
    """One step of the optimiser; the losses before it."""
    losses = now.trainee.losses(batch, captions)
    for group in now.optimiser.param_groups:
        group["lr"] = rate
    now.optimiser.zero_grad()
    torch.autograd.backward(torch.stack(losses).sum())
    nn.utils.clip_grad_norm_(now.trainee.parameters(), 1.0)
    now.optimiser.step()
    return [loss.item() for loss in losses]


def save(captioner: Any, out: Path) -> None:
    """Write the model in float16 with all that it loads by; it loads back as float32."""
    captioner.to(torch.float16).save_pretrained(out)
    build.processor().save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    # Else transformers computes in the stored type, which is slow on a CPU.
    config["dtype"] = "float32"
    config["vision_config"].pop("dtype", None)
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def train(out: Path, seed: int, lengths: Lengths) -> None:
    """Train for every phase, from `out`/checkpoint.pt where there is one, and save."""
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, total = out / "checkpoint.pt", sum(lengths)
    trainee = Trainee()
    now = Progress(trainee, _optimiser_of(trainee))
    if checkpoint.exists():
        now.resume(checkpoint)
    left, began = range(now.step, total), time.monotonic() - now.seconds
    # One worker draws faster than one core trains; a batch depends on its number alone.
    batches = DataLoader(
        Pictures(seed, lengths), batch_size=None, sampler=left, num_workers=1, prefetch_factor=8
    )
    for step, batch in zip(left, batches, strict=True):
        captions = phase_at(step, lengths)[0] > 0
        losses = _learn(now, batch, captions, rate_at(step, lengths))
        now.step, now.seconds = step + 1, time.monotonic() - began
        if now.step % 50 == 0:
            shown = " ".join(f"{loss:.4f}" for loss in losses)
            print(f"step {now.step} loss {shown} at {now.seconds:.0f} s", flush=True)
        if now.step % EVERY == 0 or now.step == total:
            now.store(checkpoint)
            if captions:
                share = held_out(trainee.captioner, seed)
                print(f"step {now.step} held out {share:.4f} exactly right", flush=True)
    save(trainee.captioner, out)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Trains the captioner darkroom/shapes.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, nargs=3, default=(6000, 3000, 4000))
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    vision, captions, beyond = given.steps
    train(given.out, given.seed, (vision, captions, beyond))


if __name__ == "__main__":
    main()
