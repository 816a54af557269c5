"""What a clip shall show, and how a network is told: actions, a class, a text, and how noisy each frame is.

Two ways lead in. *Modulation*: the embeddings of a frame's conditions are added up and shift, scale and gate every
block. *Tokens*: an action or the words of a prompt stand among the tokens that may be looked at. Everything can be left
unsaid, which has an embedding of its own: in training a share of the conditions is forgotten, so that the network can
say what it expects with and without them, and guidance can go further in the direction of the difference.

Axes: b clips, gt frames of tokens, d width, p tokens of a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidbench.errors import InputError
from vidbench.worldmodel.attention import Prefix
from vidbench.worldmodel.config import DiTConfig
from vidbench.worldmodel.patchify import Triple
from vidbench.worldmodel.rope import rotation


@dataclass(frozen=True)
class Conditions:
    """What a clip shall show. What is left out, or is none of its kind, is the learned "not said"."""

    actions: Tensor | None = None
    """(b, t) int64: the action that *led to* each frame, so entry t is action t - 1 of the clip; -1: not said."""
    label: Tensor | None = None
    """(b,) int64 class; -1: not said."""
    prompt: Tensor | None = None
    """(b, p, prompt_width) embedded tokens of a text; rows of zeros are padding, all zeros: not said."""

    def masked(self, drop: Tensor) -> Conditions:
        """These with "not said" where `drop`, (b,) bool, is true; in training, what guidance needs."""
        return Conditions(
            None if self.actions is None else self.actions.masked_fill(drop[:, None], -1),
            None if self.label is None else self.label.masked_fill(drop, -1),
            None if self.prompt is None else self.prompt.masked_fill(drop[:, None, None], 0),
        )

    def dropped(self, probability: float, generator: torch.Generator | None = None) -> Conditions:
        """These, each kind forgotten for a random share of the clips, actions frame by frame."""

        def chosen(like: Tensor, shape: tuple[int, ...]) -> Tensor:
            return (torch.rand(shape, generator=generator) < probability).to(like.device)

        actions, label, prompt = self.actions, self.label, self.prompt
        if actions is not None:
            actions = actions.masked_fill(chosen(actions, tuple(actions.shape)), -1)
        if label is not None:
            label = label.masked_fill(chosen(label, tuple(label.shape)), -1)
        if prompt is not None:
            prompt = prompt.masked_fill(chosen(prompt, (len(prompt), 1, 1)), 0)
        return Conditions(actions, label, prompt)

    def unsaid(self) -> Conditions:
        """The same shapes with nothing said: the other end of guidance."""
        given = next((part for part in (self.actions, self.label, self.prompt) if part is not None), None)
        if given is None:
            return self
        return self.masked(torch.ones(len(given), dtype=torch.bool, device=given.device))


class TimeEmbedder(nn.Module):
    """A time from 0 to 1 as d channels: waves of many lengths, then two layers."""

    waves = 128

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * self.waves, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """(b, gt) to (b, gt, d)."""
        lengths = 10_000 ** (-torch.arange(self.waves, device=t.device, dtype=torch.float32) / self.waves)
        angles = 1000 * t[..., None].float() * lengths
        return self.layers(torch.cat((angles.cos(), angles.sin()), dim=-1))


class NumberEmbedder(nn.Module):
    """One of n numbers as d channels; -1 has an embedding of its own, the last."""

    def __init__(self, numbers: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(numbers + 1, width)

    def forward(self, numbers: Tensor) -> Tensor:
        """(...) int64 to (..., d)."""
        return self.table(torch.where(numbers < 0, self.table.num_embeddings - 1, numbers))


class PromptEmbedder(nn.Module):
    """Embedded tokens of a text as tokens of d channels, and their mean; padding becomes a learned vector."""

    def __init__(self, prompt_width: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(prompt_width, width), nn.SiLU(), nn.Linear(width, width))
        self.nothing = nn.Parameter(0.02 * torch.randn(prompt_width))

    def forward(self, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """(b, p, prompt_width) to tokens (b, p, d) and their mean (b, d), over what is said where anything is."""
        said = prompt.any(dim=2, keepdim=True)  # (b, p, 1)
        tokens = self.layers(torch.where(said, prompt, self.nothing))
        counted = (said | ~said.any(dim=1, keepdim=True)).to(tokens.dtype)
        return tokens, (tokens * counted).sum(1) / counted.sum(1)


class ConditionEmbedder(nn.Module):
    """All conditions of a network: what modulates each frame, and what may be looked at."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.time = TimeEmbedder(width)
        self.action = NumberEmbedder(config.actions, width) if config.actions else None
        self.label = NumberEmbedder(config.classes, width) if config.classes else None
        self.prompt = PromptEmbedder(config.prompt_width, width) if config.prompt_width else None

    def forward(self, given: Conditions, t: Tensor, grid: Triple) -> tuple[Tensor, Prefix | None]:
        """Embed.

        Args:
            given: what is said; kinds that the network takes and that are left out count as not said.
            t: (b,) or (b, gt), 0 is noise.
            grid: of tokens.

        Returns:
            (b, gt, d) for modulation, and the prefix of attention where there is one.

        Raises:
            InputError: a kind that the network was made without, or a wrong shape.
        """
        b = len(t)
        self._check(given, b, grid[0])
        condition = self.time(t if t.ndim == 2 else t[:, None]).expand(b, grid[0], -1)
        frame_tokens = prompt_tokens = None
        if self.action is not None:
            actions = given.actions if given.actions is not None else _not_said(b, grid[0], device=t.device)
            embedded = self.action(actions)  # (b, gt, d)
            if self.config.action_conditioning != "token":
                condition = condition + embedded
            if self.config.action_conditioning != "modulation":
                frame_tokens = embedded[:, :, None]
        if self.label is not None:
            label = given.label if given.label is not None else _not_said(b, device=t.device)
            condition = condition + self.label(label)[:, None]
        if self.prompt is not None:
            prompt = given.prompt if given.prompt is not None else t.new_zeros(b, 1, self.config.prompt_width)
            prompt_tokens, mean = self.prompt(prompt)
            condition = condition + mean[:, None]
        if prompt_tokens is None and frame_tokens is None:
            return condition, None
        frames = torch.arange(grid[0], device=t.device)
        positions = torch.stack((frames, torch.zeros_like(frames), torch.zeros_like(frames)), dim=1)
        turn = rotation(positions, self.config.width // self.config.heads, self.config.rope_theta)
        return condition, Prefix(prompt_tokens, frame_tokens, turn)

    def _check(self, given: Conditions, b: int, frames: int) -> None:
        config = self.config
        for name, value, takes, shape in (
            ("actions", given.actions, config.actions, (b, frames)),
            ("label", given.label, config.classes, (b,)),
            ("prompt", given.prompt, config.prompt_width, (b, "tokens", config.prompt_width)),
        ):
            if value is None:
                continue
            if not takes:
                raise InputError(f"the network was made without {name}: leave it out of the conditions")
            fits = value.ndim == len(shape) and all(
                n == wanted or (wanted == "tokens" and n > 0) for n, wanted in zip(value.shape, shape, strict=True)
            )
            if not fits:
                raise InputError(f"{name} must have shape {shape}, got {tuple(value.shape)}")


def _not_said(*shape: int, device: torch.device) -> Tensor:
    return torch.full(shape, -1, device=device)
