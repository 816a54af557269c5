"""Latent actions: which of a few *codes* leads from one frame to the next, found in video that nobody labelled.

A decoder sees the last frames and draws, for each code, the frame that would follow. The code of a transition is the
one whose picture is nearest to what did follow. Only what the past cannot tell is left to the code, and in a game that
is what the player did (Bruce et al. 2024, Genie, arXiv 2402.15391).

Genie finds the code with an encoder and vector quantisation. With a handful of codes that detour can be left out: all
of them are tried. Training is then that of a mixture, whose components are the decoder's pictures:

    error_k = mean over pixels (picture_k - next frame)²
    loss    = -heat log mean_k exp(-error_k / heat)

Its gradient moves each picture by its share softmax(-error / heat) of the transition. While the heat falls from a value
at which all codes share everything to one at which the nearest takes all, codes part one by one (deterministic
annealing, Rose 1998), and none dies, for it keeps a share as long as that is undecided. Measured against an encoder
with Gumbel-softmax, against codes that are displacements, and against weights on changed pixels, in
docs/worldmodel-latent.md.

What past frames tell the decoder it does not need a code for. Where players keep their action for long, the past tells
the action, and codes lose their meaning; the loss does not show it, it is even lower. What shows it is the *gain* of
the codes: how many times larger errors are with one code for all transitions. `train_latent` refuses where it is small.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammaln
from torch import Tensor, nn

from vidbench.errors import InputError
from vidbench.files import write_atomic

FORMAT = "vidbench-latent-actions-1"
LEAST_GAIN = 2.5
"""Gain of the codes below which they mean little, see `code_gain`: 1.6 to 1.9 where actions are kept with probability
0.85 or more (then codes have nothing to do with actions), about 4 where they are drawn anew."""
_CHUNK = 64
_CHECKED = 64
"""Clips that codes are checked on."""


@dataclass(frozen=True)
class LatentConfig:
    """Size and training. The defaults take about half a minute of one CPU core."""

    codes: int = 6
    """How many; a few more than there are actions do no harm, fewer do."""
    past_frames: int = 2
    """K, frames that the decoder sees. Two tell how things move by themselves; one tells no action."""
    width: int = 32
    """Channels of the layers."""
    patch: int = 2
    """Side of the squares that the first layer sees as one place."""
    steps: int = 700
    """Optimiser steps."""
    batch: int = 48
    """Transitions a step."""
    rate: float = 3e-3
    """Highest learning rate (AdamW)."""
    hot: float = 4e-3
    """Heat at the start, in squared differences of frames from -1 to 1."""
    cold: float = 2e-4
    """Heat from `cooling` on."""
    cooling: float = 0.6
    """Share of the training over which the heat falls."""
    seed: int = 0

    def __post_init__(self) -> None:
        numbers = (self.codes - 1, self.past_frames, self.width, self.patch, self.steps, self.batch)
        if any(type(number) is not int for number in numbers) or min(numbers) < 1 or max(numbers) > 1 << 20:
            raise InputError(
                f"codes (from 2), past frames, width, patch, steps and batch are whole numbers, got {self}"
            )
        if not (self.rate > 0 and 0 < self.cold <= self.hot and 0 < self.cooling <= 1):
            raise InputError(f"rate and heats must be above 0, hot at least cold, cooling a share; got {self}")


class CodeDecoder(nn.Module):
    """Past frames to one next frame for each code; what is added to the last frame begins near zero.

    All codes share the layers but the last, so that trying all of them costs little more than one.
    """

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        width, squares = config.width, config.patch**2
        layers: list[nn.Module] = [nn.PixelUnshuffle(config.patch)]
        channels = 3 * squares * config.past_frames
        for _ in range(3):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.out = nn.Conv2d(width, 3 * squares * config.codes, 3, padding=1)
        self.shuffle = nn.PixelShuffle(config.patch)
        self.codes = config.codes
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, past: Tensor) -> Tensor:
        """(b, 3 K, h, w) frames from -1 to 1, the last one last, to (b, codes, 3, h, w)."""
        changes = self.shuffle(self.out(self.layers(past))).unflatten(1, (self.codes, 3))
        return past[:, None, -3:] + changes


@dataclass(frozen=True, slots=True)
class Explained:
    """What the codes say of N transitions."""

    codes: NDArray[np.int64]
    """(N,) the code whose picture is nearest."""
    errors: NDArray[np.float32]
    """(N, codes) mean squared difference of each picture to the next frame, of frames from -1 to 1."""
    pictures: NDArray[np.uint8]
    """(N, H, W, 3) the nearest picture."""


class LatentTraining:
    """Training that can be stopped after any step and gone on with; `train_latent` is the short way.

    Args:
        frames: (N, T, H, W, 3) uint8 video, T at least 2; no actions.
        config: size and training.
        decoder: another network of `CodeDecoder`'s interface, for comparisons.

    Raises:
        InputError: frames of another shape, or no multiple of the patch.
    """

    def __init__(
        self, frames: NDArray[np.uint8], config: LatentConfig = LatentConfig(), *, decoder: nn.Module | None = None
    ) -> None:
        _check_video(frames, config)
        self.frames, self.config = frames, config
        self._rng = np.random.default_rng(config.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.decoder = decoder or CodeDecoder(config)
        self._optimiser = torch.optim.AdamW(self.decoder.parameters(), lr=config.rate)
        self.steps_done = 0

    def step(self, share: float | None = None) -> float:
        """One optimiser step.

        Args:
            share: of the training that is done; None: by the number of steps.

        Returns:
            The loss.
        """
        config = self.config
        done = self.steps_done / config.steps if share is None else share
        warm = min(1.0, (self.steps_done + 1) / 50)
        for group in self._optimiser.param_groups:
            group["lr"] = config.rate * warm * min(1.0, (1 - done) / 0.4 + 0.02)
        clip = self._rng.integers(0, self.frames.shape[0], config.batch)
        time = self._rng.integers(0, self.frames.shape[1] - 1, config.batch)
        past, following = _tensors(self.frames, clip, time, config.past_frames)
        loss = annealed(errors_of(self.decoder(past), following), heat_at(config, done))
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        self.steps_done += 1
        return float(loss.detach())

    def result(self) -> LatentActions:
        """What is learned so far."""
        return LatentActions(self.decoder, self.config)

    def state_dict(self) -> dict[str, Any]:
        """To go on later."""
        return {
            "decoder": self.decoder.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "steps_done": self.steps_done,
            "draws": self._rng.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.decoder.load_state_dict(state["decoder"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.steps_done = int(state["steps_done"])
        self._rng.bit_generator.state = state["draws"]


class LatentActions:
    """A trained decoder. Make one with `train_latent` or `LatentActions.load`."""

    def __init__(self, decoder: nn.Module, config: LatentConfig) -> None:
        self.decoder = decoder.eval()
        self.config = config

    def explain(self, frames: NDArray[np.uint8]) -> Explained:
        """The code of every transition.

        Args:
            frames: (N, T, H, W, 3) uint8.

        Returns:
            Transitions (N * (T - 1)) in the order of clips, then of time.

        Raises:
            InputError: frames of another shape.
        """
        _check_video(frames, self.config)
        count, steps = frames.shape[0], frames.shape[1] - 1
        clip, time = np.repeat(np.arange(count), steps), np.tile(np.arange(steps), count)
        codes, errors, pictures = [], [], []
        with torch.inference_mode():
            for at in range(0, len(clip), _CHUNK):
                part = slice(at, at + _CHUNK)
                past, following = _tensors(frames, clip[part], time[part], self.config.past_frames)
                drawn = self.decoder(past)
                error = errors_of(drawn, following)
                best = error.argmin(1)
                codes.append(best.numpy())
                errors.append(error.numpy())
                pictures.append(_pixels(drawn[torch.arange(len(best)), best]))
        return Explained(np.concatenate(codes), np.concatenate(errors), np.concatenate(pictures))

    def codes(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """(N, T - 1) the code of each transition of (N, T, H, W, 3) frames."""
        return self.explain(frames).codes.reshape(frames.shape[0], -1)

    def decode(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture that each code gives: (N, codes, H, W, 3).

        Args:
            frames: (N, L, H, W, 3) uint8, the past; the last one is now.
        """
        clip = np.arange(len(frames))
        past = _past(frames, clip, np.full(len(frames), frames.shape[1] - 1), self.config.past_frames)
        with torch.inference_mode():
            drawn = self.decoder(past)
        return _pixels(drawn.flatten(0, 1)).reshape(len(frames), self.config.codes, *frames.shape[2:])

    def save(self, path: Path) -> None:
        """Write the weights as safetensors, with the configuration in the header."""
        from safetensors.torch import save

        state = {name: tensor.detach().contiguous() for name, tensor in self.decoder.state_dict().items()}
        write_atomic(path, save(state, {FORMAT: json.dumps(asdict(self.config))}))

    @classmethod
    def load(cls, path: Path) -> LatentActions:
        """Read what `save` wrote.

        Raises:
            InputError: no such file, or not one of these.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                header = file.metadata() or {}
                if FORMAT not in header:
                    raise InputError("it holds no latent actions")  # noqa: TRY301  (told with the file below)
                config = LatentConfig(**json.loads(header[FORMAT]))
                decoder = CodeDecoder(config)
                decoder.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError, InputError) as error:
            raise InputError(f"{path} cannot be read as latent actions: {' '.join(str(error).split())}") from error
        return cls(decoder, config)


def train_latent(
    frames: NDArray[np.uint8],
    config: LatentConfig = LatentConfig(),
    *,
    check: bool = True,
    progress: Callable[[int, float], None] | None = None,
) -> LatentActions:
    """Find latent actions in video.

    Args:
        frames: (N, T, H, W, 3) uint8 video without actions.
        config: size and training.
        check: make sure in the end that codes matter.
        progress: called with step and loss.

    Raises:
        InputError: frames of another shape, or codes have no meaning (`check_codes_matter`).
    """
    training = LatentTraining(frames, config)
    for step in range(config.steps):
        loss = training.step()
        if progress is not None:
            progress(step, loss)
    found = training.result()
    if check:
        check_codes_matter(found, frames[:_CHECKED])
    return found


def code_gain(errors: NDArray[np.float32]) -> float:
    """How many times larger the error is with the best single code for all transitions: errors (N, codes); from 1."""
    return float(errors.mean(0).min() / max(float(errors.min(1).mean()), 1e-12))


def check_codes_matter(found: LatentActions, frames: NDArray[np.uint8]) -> float:
    """Refuse codes that the decoder does hardly without.

    Args:
        found: what was trained.
        frames: (N, T, H, W, 3) some of the video that it was trained on.

    Returns:
        The gain.

    Raises:
        InputError: it is below `LEAST_GAIN`.
    """
    gain = code_gain(found.explain(frames).errors)
    if gain < LEAST_GAIN:
        raise InputError(
            f"with one code for everything pictures are only {gain:.1f} times as wrong as with the best of "
            f"{found.config.codes} (at least {LEAST_GAIN:g}): codes have lost their meaning, most often since the past "
            "tells the action; use video whose actions vary from step to step, or train longer"
        )
    return gain


def errors_of(pictures: Tensor, following: Tensor) -> Tensor:
    """(b, codes, 3, h, w) and (b, 3, h, w) to mean squared differences (b, codes).

    Every pixel counts the same. Weights on pixels that changed, which help other models to see small things, would
    make a picture with a needless move cheap where nothing moved, and standing still would share a code with a move.
    """
    return (pictures - following[:, None]).square().mean((2, 3, 4))


def annealed(errors: Tensor, heat: float) -> Tensor:
    """The mixture's loss of (b, codes) errors: near their mean where it is hot, their least where it is cold."""
    return (heat * math.log(errors.shape[1]) - heat * torch.logsumexp(-errors / heat, 1)).mean()


def heat_at(config: LatentConfig, share: float) -> float:
    """Heat after a share of the training."""
    return config.hot * math.exp(math.log(config.cold / config.hot) * min(1.0, share / config.cooling))


def adjusted_mutual_information(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """Mutual information of two labellings beyond what chance gives, 1 where they say the same, about 0 by chance.

    Vinh, Epps & Bailey 2010, with the mean of the entropies; the order and number of labels do not matter.

    Raises:
        InputError: no labels, or not as many of each.
    """
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise InputError(f"two labellings of the same things are needed, got {a.shape} and {b.shape}")
    table = np.zeros((len(np.unique(a)), len(np.unique(b))), np.int64)
    np.add.at(table, (np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]), 1)
    total, rows, columns = int(table.sum()), table.sum(1), table.sum(0)
    if table.shape == (1, 1):
        return 1.0
    share = table[table > 0] / total
    outer = np.outer(rows, columns)[table > 0] / total**2
    information = float((share * np.log(share / outer)).sum())
    by_chance = 0.0
    for row in rows:
        for column in columns:
            n = np.arange(max(1, row + column - total), min(row, column) + 1)
            log_probability = (
                gammaln(row + 1) + gammaln(column + 1) + gammaln(total - row + 1) + gammaln(total - column + 1)
            ) - (
                gammaln(total + 1)
                + gammaln(n + 1)
                + gammaln(row - n + 1)
                + gammaln(column - n + 1)
                + gammaln(total - row - column + n + 1)
            )
            by_chance += float((n / total * np.log(total * n / (row * column)) * np.exp(log_probability)).sum())
    entropies = [-float((p / total * np.log(p / total)).sum()) for p in (rows, columns)]
    span = float(np.mean(entropies)) - by_chance
    return float((information - by_chance) / (span if abs(span) > 1e-12 else 1e-12))


@dataclass(frozen=True, slots=True)
class ActionMap:
    """Which code is which action, learned from few labelled transitions."""

    to_code: NDArray[np.int64]
    """(actions,) the code that does each action."""
    to_action: NDArray[np.int64]
    """(codes,) the action that each code is."""
    counts: NDArray[np.int64]
    """(actions, codes) labelled transitions."""

    @classmethod
    def fit(cls, codes: NDArray[np.int64], actions: NDArray[np.int64], n_codes: int, n_actions: int) -> ActionMap:
        """Count.

        A code is named by the action that most often shows it. An action's code is that with the largest product of
        shares, of the action among the code's and of the code among the action's: a move that walls often stop often
        shows the code of standing still, but is a small part of it.

        Args:
            codes: (N,) of the labelled transitions.
            actions: (N,) what was chosen; that a wall stopped it need not be known.
            n_codes: how many codes there are.
            n_actions: how many actions there are.

        Raises:
            InputError: labels of another number, out of range, or an action without label.
        """
        codes, actions = np.asarray(codes), np.asarray(actions)
        if codes.shape != actions.shape or codes.ndim != 1 or not len(codes):
            raise InputError(f"each labelled transition has a code and an action, got {codes.shape}, {actions.shape}")
        if min(codes.min(), actions.min()) < 0 or codes.max() >= n_codes or actions.max() >= n_actions:
            raise InputError(f"codes are 0 to {n_codes - 1} and actions 0 to {n_actions - 1}; a label is out of range")
        counts = np.zeros((n_actions, n_codes), np.int64)
        np.add.at(counts, (actions, codes), 1)
        missing = [str(action) for action in np.flatnonzero(counts.sum(1) == 0)]
        if missing:
            raise InputError(f"no labelled transition shows action {', '.join(missing)}: label more of them")
        of_code = counts / np.maximum(counts.sum(0), 1)
        of_action = counts / counts.sum(1, keepdims=True)
        return cls((of_code * of_action).argmax(1), of_code.argmax(0), counts)


def _past(frames: NDArray[np.uint8], clip: NDArray[np.int64], time: NDArray[np.int64], count: int) -> Tensor:
    """(b, 3 K, H, W) from -1 to 1; before the first frame it is the first frame."""
    each = [frames[clip, np.maximum(time - back, 0)] for back in range(count - 1, -1, -1)]
    return torch.from_numpy(np.concatenate(each, 3)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _tensors(
    frames: NDArray[np.uint8], clip: NDArray[np.int64], time: NDArray[np.int64], count: int
) -> tuple[Tensor, Tensor]:
    following = torch.from_numpy(frames[clip, time + 1]).permute(0, 3, 1, 2).float() / 127.5 - 1
    return _past(frames, clip, time, count), following


def _pixels(drawn: Tensor) -> NDArray[np.uint8]:
    """(b, 3, h, w) from -1 to 1 to (b, h, w, 3) uint8."""
    levels = ((drawn.clamp(-1, 1) + 1) * 127.5).round().byte()
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).numpy())


def _check_video(frames: NDArray[np.uint8], config: LatentConfig) -> None:
    shape = frames.shape
    if len(shape) != 5 or shape[4] != 3 or frames.dtype != np.uint8 or shape[0] < 1 or shape[1] < 2:
        raise InputError(f"video is (clips, frames from 2, height, width, 3) uint8, got {shape} {frames.dtype}")
    if shape[2] % config.patch or shape[3] % config.patch:
        raise InputError(f"frames of {shape[2]} x {shape[3]} do not divide into patches of {config.patch}")
