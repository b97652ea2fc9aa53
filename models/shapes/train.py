"""Trains the captioner `darkroom/shapes` on pictures drawn as it goes.

    python -m models.shapes.train --out DIR --seed 7

The caption's loss alone learns the words and stays at chance on order and relation. So the vision
part is trained first, by two linear heads over its patch tokens that are thrown away afterwards:
what covers the patch, and the part that it plays in the caption. Then captions and both heads
together. DIR/checkpoint.pt is written every 500 steps, and the same command goes on from it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from transformers import GitForCausalLM

from . import build
from .draw import COVERS, ROLES, caption_of, draw, draw_picture, patch_labels

BATCH = 64
EVERY = 500  # steps between checkpoints
WARM_UP = 200  # steps, in each phase
VISION_RATE, CAPTION_RATE = 2e-3, 1e-3
HELD_OUT = 500  # pictures looked at with each checkpoint
Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def shrink(image: Image.Image) -> Tensor:
    """(64, 64, 3) uint8, resized as the processor resizes."""
    small = image.resize((build.SIDE, build.SIDE), Image.Resampling(build.RESAMPLE))
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(
        build.SIDE, build.SIDE, 3
    )


class Pictures(Dataset[Batch]):
    """Batch number `step`: levels (64, 64, 64, 3), words (64, 14), cover and role (64, 64)."""

    def __init__(self, seed: int, steps: int) -> None:
        self.seed, self.steps = seed, steps
        self.words = build.vocabulary()

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        levels, words, covers, roles = [], [], [], []
        for row in range(BATCH):
            # Large canvases cost the most to draw and look the same at 64 px: a fifth suffices.
            image, picture = draw_picture(
                f"train {self.seed} {step} {row}", 1024 if row % 5 == 0 else 400
            )
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
        self.captioner: GitForCausalLM = build.model()
        self.cover = nn.Linear(build.WIDTH, COVERS)
        self.role = nn.Linear(build.WIDTH, ROLES)
        self.tokens = torch.empty(0)  # (n, 65, 128), the vision part's last output
        self.captioner.git.image_encoder.register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: object, output: object) -> None:
        self.tokens = output.last_hidden_state  # type: ignore[attr-defined]

    def patch_loss(self, cover: Tensor, role: Tensor) -> tuple[Tensor, Tensor]:
        """Both heads' loss over the tokens kept last."""
        patches = self.tokens[:, 1:]
        covers = cross_entropy(self.cover(patches).flatten(0, 1), cover.flatten())
        roles = cross_entropy(self.role(patches).flatten(0, 1), role.flatten())
        return covers, roles

    def losses(self, batch: Batch, captions: bool) -> list[Tensor]:
        """Cover, role and, where asked for, caption loss."""
        levels, words, cover, role = batch
        pixels = build.to_pixel_values(levels)
        if not captions:
            self.captioner.git.image_encoder(pixels)
            return [*self.patch_loss(cover, role)]
        logits = self.captioner(input_ids=words, pixel_values=pixels, use_cache=False).logits
        guesses = logits[:, build.IMAGE_TOKENS : -1].flatten(0, 1)
        spoken = cross_entropy(guesses, words[:, 1:].flatten(), ignore_index=build.PAD)
        return [*self.patch_loss(cover, role), spoken]


def rate_at(step: int, vision_steps: int, caption_steps: int) -> float:
    """Learning rate: in each phase a linear warm-up, then a cosine to 1 % of the top."""
    top, length = VISION_RATE, vision_steps
    if step >= vision_steps:
        top, length, step = CAPTION_RATE, caption_steps, step - vision_steps
    if step < WARM_UP:
        return top * (step + 1) / WARM_UP
    share = (step - WARM_UP) / max(1, length - WARM_UP)
    return top * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)


@torch.no_grad()
def held_out(captioner: GitForCausalLM, seed: int) -> float:
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


def optimiser_of(trainee: Trainee) -> torch.optim.AdamW:
    """AdamW that decays matrices only."""
    named = list(trainee.parameters())
    groups = [
        {"params": [p for p in named if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98))


def save(captioner: GitForCausalLM, out: Path) -> None:
    """Write the model in float16 with all that it loads by; it loads back as float32."""
    captioner.to(torch.float16).save_pretrained(out)
    build.processor().save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    # Else transformers computes in the stored type, which is slow on a CPU.
    config["dtype"] = "float32"
    config["vision_config"].pop("dtype", None)
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def train(out: Path, seed: int, vision_steps: int, caption_steps: int) -> None:
    """Train for both phases, from `out`/checkpoint.pt where there is one."""
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    trainee, done, spent = Trainee(), 0, 0.0
    optimiser = optimiser_of(trainee)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        kept = torch.load(checkpoint)
        trainee.load_state_dict(kept["trainee"])
        optimiser.load_state_dict(kept["optimiser"])
        done, spent = kept["step"], kept["seconds"]
    total = vision_steps + caption_steps
    data = Pictures(seed, total)
    loader = DataLoader(data, batch_size=None, sampler=range(done, total), num_workers=1,
                        prefetch_factor=8)
    began = time.monotonic() - spent
    for step, batch in enumerate(loader, done):
        captions = step >= vision_steps
        losses = trainee.losses(batch, captions)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, vision_steps, caption_steps)
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 50 == 0:
            shown = " ".join(f"{loss.item():.4f}" for loss in losses)
            print(f"step {step + 1} loss {shown} at {time.monotonic() - began:.0f} s", flush=True)
        if (step + 1) % EVERY == 0 or step + 1 == total:
            seconds = time.monotonic() - began
            torch.save({"trainee": trainee.state_dict(), "optimiser": optimiser.state_dict(),
                        "step": step + 1, "seconds": seconds}, checkpoint)
            if captions:
                share = held_out(trainee.captioner, seed)
                print(f"step {step + 1} held out {share:.4f} exactly right", flush=True)
    save(trainee.captioner, out)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--vision-steps", type=int, default=6000)
    parser.add_argument("--caption-steps", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    train(given.out, given.seed, given.vision_steps, given.caption_steps)


if __name__ == "__main__":
    main()
