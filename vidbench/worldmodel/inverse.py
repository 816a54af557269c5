"""Inverse dynamics: which action leads from one frame to the next.

A small convolutional network sees two frames and names the *effective* action (noop where a wall stopped the agent:
nothing in the frames could tell it from standing still; with chosen actions as labels no network gets past the share of
moves that are not blocked). On pairs that a world model made, its answer says which action the model showed.

As in Baker et al. 2022 (VPT, arXiv 2206.11795), where the network labels video of others, and Du et al. 2023 (UniPi,
arXiv 2302.00111), where it turns an imagined plan into actions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError, WeightsError
from vidbench.files import write_atomic
from vidbench.stats import Interval, wilson_interval
from vidbench.worldmodel.rooms.episodes import Episodes
from vidbench.worldmodel.rooms.settings import Action

if TYPE_CHECKING:
    from torch import Tensor, nn

_FORMAT = "vidbench-inverse-dynamics-1"
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class InverseConfig:
    """Size and training of the network. The defaults take about 20 seconds of one CPU core."""

    width: int = 24
    """Channels of the first layer; the others have twice as many."""
    actions: int = len(Action)
    """How many actions there are."""
    steps: int = 500
    """Optimiser steps."""
    batch: int = 64
    """Pairs a step, as many of each action."""
    rate: float = 3e-3
    """Highest learning rate (AdamW); it rises for a tenth of the steps and falls to 0 as a cosine."""
    noise: float = 24.0
    """Pairs are trained with noise of a deviation up to this many levels of 255, as a world model's frames have."""
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.actions - 1, self.steps, self.batch) < 1 or not self.rate > 0 or self.noise < 0:
            raise InputError(f"width, steps, batch, rate and actions must be positive, got {self}")


@dataclass(frozen=True, slots=True)
class InverseScore:
    """How often the network named the effective action."""

    accuracy: float
    """Share of all pairs."""
    n: int
    accuracy_moves: float | None
    """Share of the pairs whose effective action is a move; None where there are none."""
    n_moves: int
    interval_moves: Interval | None
    """Wilson's 95 % interval of `accuracy_moves`."""
    confusion: NDArray[np.int64]
    """(actions, actions) pairs, true action down, named action across."""

    def __str__(self) -> str:
        moves = "no moves among them"
        if self.accuracy_moves is not None and self.interval_moves is not None:
            low, high = self.interval_moves.low, self.interval_moves.high
            moves = f"{self.accuracy_moves:.1%} of {self.n_moves} moves (95 % interval {low:.1%} to {high:.1%})"
        return f"{self.accuracy:.1%} of {self.n} pairs; {moves}"


class InverseDynamics:
    """A trained network. Make one with `train_inverse` or `InverseDynamics.load`."""

    def __init__(self, network: nn.Module, config: InverseConfig) -> None:
        self._network = network.eval()
        self.config = config

    def probabilities(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of every action: (N, actions).

        Args:
            before: (N, H, W, 3) uint8.
            after: the frames one step later, of the same shape.

        Raises:
            InputError: frames of another type or shape.
        """
        import torch

        _check_pairs(before, after)
        device = next(self._network.parameters()).device
        found = [np.zeros((0, self.config.actions), np.float32)]
        with torch.inference_mode():
            for at in range(0, len(before), _CHUNK):
                pairs = _as_input(before[at : at + _CHUNK], after[at : at + _CHUNK]).to(device)
                found.append(self._network(pairs).softmax(1).cpu().numpy())
        return np.concatenate(found)

    def predict(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The likeliest action: (N,). Arguments as of `probabilities`."""
        return np.asarray(self.probabilities(before, after).argmax(1))

    def evaluate(
        self, before: NDArray[np.uint8], after: NDArray[np.uint8], effective: NDArray[np.int64]
    ) -> InverseScore:
        """Compare with the true effective actions (N,); `after` may be real frames or generated ones.

        Raises:
            InputError: frames of another type or shape, or no pair.
        """
        if not len(before):
            raise InputError("there is no pair of frames to evaluate")
        named = self.predict(before, after)
        confusion = np.zeros((self.config.actions, self.config.actions), np.int64)
        np.add.at(confusion, (effective, named), 1)
        right, total = np.diag(confusion), confusion.sum(1)
        moves = int(total[1:].sum())
        return InverseScore(
            accuracy=float(right.sum() / total.sum()),
            n=int(total.sum()),
            accuracy_moves=float(right[1:].sum() / moves) if moves else None,
            n_moves=moves,
            interval_moves=wilson_interval(int(right[1:].sum()), moves) if moves else None,
            confusion=confusion,
        )

    def save(self, path: Path) -> None:
        """Write the weights as safetensors, with the configuration in the header.

        Raises:
            OSError: the file cannot be written.
        """
        from safetensors.torch import save

        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self._network.state_dict().items()}
        # One entry: safetensors writes several in no fixed order.
        write_atomic(path, save(state, {_FORMAT: json.dumps(asdict(self.config))}))

    @classmethod
    def load(cls, path: Path) -> InverseDynamics:
        """Read what `save` wrote.

        Raises:
            WeightsError: no such file, or not one of these.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                header = file.metadata() or {}
                if _FORMAT not in header:
                    raise WeightsError(f"{path} holds no inverse dynamics: train one with `vidbench plan --inverse`")
                config = InverseConfig(**json.loads(header[_FORMAT]))
                network = _network(config)
                network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError, InputError) as error:
            raise WeightsError(f"{path} cannot be read as inverse dynamics: {' '.join(str(error).split())}") from error
        return cls(network, config)


def pairs_of(episodes: Episodes) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """All pairs of neighbouring frames, and the effective actions between them."""
    before, after = episodes.frames[:, :-1], episodes.frames[:, 1:]
    return before.reshape(-1, *before.shape[2:]), after.reshape(-1, *after.shape[2:]), episodes.effective.reshape(-1)


def train_inverse(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    effective: NDArray[np.int64],
    config: InverseConfig = InverseConfig(),
    *,
    device: str = "cpu",
) -> InverseDynamics:
    """Train on pairs with known actions.

    Args:
        before: (N, H, W, 3) uint8.
        after: the frames one step later.
        effective: (N,) actions, 0 to `config.actions` - 1; those that never occur are never named.
        config: size and training.
        device: torch's name of where to train.

    Raises:
        InputError: frames of another type or shape, unknown actions, or no pair.
    """
    import torch
    from torch.nn import functional

    _check_pairs(before, after)
    labels = np.asarray(effective)
    if labels.shape != (len(before),) or not len(labels):
        raise InputError(f"each of {len(before)} pairs needs its action, got {labels.shape}")
    if labels.min() < 0 or labels.max() >= config.actions:
        raise InputError(f"actions are 0 to {config.actions - 1}, got {labels.min()} to {labels.max()}")
    rng = np.random.default_rng(config.seed)
    generator = torch.Generator(device=device).manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = _network(config).to(device).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=1e-3)
    by_action: Sequence[NDArray[np.int64]] = [np.flatnonzero(labels == a) for a in np.unique(labels)]
    for step in range(config.steps):
        share = step / config.steps
        factor = min(1.0, share / 0.1 + 1 / config.steps) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimiser.param_groups:
            group["lr"] = config.rate * factor
        kinds = rng.integers(0, len(by_action), config.batch)
        chosen = np.array([rng.choice(by_action[kind]) for kind in kinds])
        pairs = _as_input(before[chosen], after[chosen]).to(device)
        strength = torch.rand(len(pairs), 1, 1, 1, generator=generator, device=device) * config.noise / 255
        pairs = pairs + strength * torch.randn(pairs.shape, generator=generator, device=device)
        loss = functional.cross_entropy(network(pairs), torch.from_numpy(labels[chosen]).long().to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return InverseDynamics(network, config)


def _network(config: InverseConfig) -> nn.Sequential:
    """Convolutions and a maximum over all places: wherever the agent is, the same weights see it."""
    from torch import nn

    width = config.width
    return nn.Sequential(
        nn.Conv2d(6, width, 4, stride=2, padding=1),  # (b, 6, h, w) to (b, width, h/2, w/2)
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),  # to (b, 2 width, h/4, w/4)
        nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, config.actions),
    )


def _as_input(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Tensor:
    """(N, 6, H, W) float32: the frame before in -1 to 1, and what changed."""
    import torch

    first = torch.from_numpy(np.ascontiguousarray(before)).permute(0, 3, 1, 2).float() / 127.5 - 1
    second = torch.from_numpy(np.ascontiguousarray(after)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return torch.cat([first, second - first], 1)


def _check_pairs(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> None:
    shape = before.shape
    if len(shape) != 4 or shape[3] != 3 or after.shape != shape or before.dtype != np.uint8 or after.dtype != np.uint8:
        raise InputError(
            f"pairs of frames are twice (N, H, W, 3) uint8, got {shape} {before.dtype} and {after.shape} {after.dtype}"
        )
