"""How a small transformer is trained in few steps: Muon for the matrices of the blocks, AdamW for the rest.

Muon (Jordan et al., kellerjordan.github.io/posts/muon) replaces the momentum of a weight matrix by the nearest matrix
whose singular values are all about 1: a step then moves the layer's output as much along seldom directions as along
common ones. It is meant for matrices between hidden layers; embeddings, the first and last layer, gains and biases are
trained by AdamW. It comes with torch from 2.9 on, whose five Newton-Schulz steps are what the post describes.

The learning rate warms up linearly, stays, and falls linearly to zero over the last part. What is kept and shown is an
exponential moving average of the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidbench.errors import InputError, MissingExtraError


@dataclass(frozen=True)
class OptimiserConfig:
    """The recipe; defaults are for a few hundred steps of a model of a million weights."""

    steps: int
    """Of the whole training."""
    muon_rate: float = 0.02
    """Of Muon; 0: AdamW trains everything."""
    adamw_rate: float = 2e-3
    """Of AdamW."""
    weight_decay: float = 0.0
    """Of both, on matrices; pulled off the weight as a share of the learning rate."""
    warmup: int = 30
    """Steps until the full rate."""
    decay: float = 0.4
    """The last share of the steps, over which the rate falls to zero."""
    clip: float = 1.0
    """Longest gradient, as one vector over all weights."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warmup < 0:
            raise InputError(f"training takes at least 1 step and a warm-up of 0 or more; got {self}")
        if min(self.muon_rate, self.weight_decay) < 0 or min(self.adamw_rate, self.clip) <= 0:
            raise InputError(
                f"rates and the clip must be above 0 (Muon's rate and the weight decay may be 0); got {self}"
            )
        if not 0 <= self.decay <= 1:
            raise InputError(f"decay is a share of the steps from 0 to 1; got {self.decay}")

    def factor(self, step: int) -> float:
        """What the rates are multiplied by in step 0, 1, …, steps - 1; never 0 there."""
        warm = min(1.0, (step + 1) / (self.warmup + 1))
        falling = max(1.0, self.decay * self.steps)
        return warm * min(1.0, max(0.0, (self.steps - step) / falling))


def muon_weights(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The weights that Muon trains: of linear layers inside `network.blocks`, by name."""
    for name, module in network.blocks.named_modules(prefix="blocks"):
        if isinstance(module, nn.Linear):
            yield f"{name}.weight", module.weight


class Optimiser:
    """Muon and AdamW with one schedule.

    Args:
        network: has `blocks`, a module; the linear layers in it go to Muon.
        config: the recipe.

    Raises:
        MissingExtraError: torch is older than 2.9 and Muon is asked for.
    """

    def __init__(self, network: nn.Module, config: OptimiserConfig) -> None:
        self.config = config
        self.steps_done = 0
        hidden = dict(muon_weights(network)) if config.muon_rate else {}
        others = [p for name, p in network.named_parameters() if name not in hidden]
        matrices = [p for p in others if p.ndim >= 2]
        vectors = [p for p in others if p.ndim < 2]
        self._all = [*hidden.values(), *others]
        self._parts: list[Any] = [
            torch.optim.AdamW(
                [
                    {"params": matrices, "weight_decay": config.weight_decay},
                    {"params": vectors, "weight_decay": 0.0},
                ],
                lr=config.adamw_rate,
                betas=(0.9, 0.95),
            )
        ]
        self._rates = [config.adamw_rate]
        if hidden:
            if not hasattr(torch.optim, "Muon"):
                raise MissingExtraError(f"Muon (torch 2.9 or newer; this is {torch.__version__})", "worldmodel")
            self._parts.append(
                torch.optim.Muon(list(hidden.values()), lr=config.muon_rate, weight_decay=config.weight_decay)
            )
            self._rates.append(config.muon_rate)

    def step(self, factor: float | None = None) -> float:
        """Use the gradients and clear them.

        Args:
            factor: what the rates are multiplied by, where training is not counted in steps; None: as the config says.

        Returns:
            The length of the gradient before it was clipped.

        Raises:
            InputError: the gradient is not finite; nothing is changed.
        """
        length = float(nn.utils.clip_grad_norm_(self._all, self.config.clip))
        if not length < float("inf"):
            raise InputError(
                f"the gradient of step {self.steps_done} is {length}: lower the learning rate (muon_rate "
                f"{self.config.muon_rate:g}, adamw_rate {self.config.adamw_rate:g})"
            )
        if factor is None:
            factor = self.config.factor(self.steps_done)
        for part, rate in zip(self._parts, self._rates, strict=True):
            for group in part.param_groups:
                group["lr"] = rate * factor
            part.step()
            part.zero_grad(set_to_none=True)
        self.steps_done += 1
        return length

    def state_dict(self) -> dict[str, Any]:
        """To go on later."""
        return {"steps_done": self.steps_done, "parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.steps_done = int(state["steps_done"])
        for part, kept in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(kept)


class MovingAverage:
    """An exponential moving average of a network's weights, in a network of its own.

    Args:
        network: what is trained.
        decay: 0.99 for hundreds of steps, 0.999 for ten thousands. It begins smaller, (1 + n) / (10 + n) after n
            updates, so that the first weights are forgotten.
    """

    def __init__(self, network: nn.Module, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"the decay of a moving average is from 0 up to 1; got {decay}")
        self.decay = decay
        self.updates = 0
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    def update(self, network: nn.Module) -> None:
        """Move towards the weights of `network`."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        kept: list[Tensor] = list(self.network.parameters())
        with torch.no_grad():
            for average, weight in zip(kept, network.parameters(), strict=True):
                average.lerp_(weight, 1 - decay)
