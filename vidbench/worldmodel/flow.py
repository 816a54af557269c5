"""Rectified flow: from noise to clips along straight lines.

**t = 0 is noise, t = 1 is the clip.** (Half of the literature has it the other way round; check before comparing.)

    x_t = (1 - t) noise + t clip            a point on the line
    v   = clip - noise = d x_t / dt         its velocity, the same all along
    clip = x_t + (1 - t) v                  so one of the two gives the other

A network that sees x_t cannot know which line it is on; the best it can say is the mean over all lines through x_t,
E[clip | x_t]. Following the velocity that belongs to it from t = 0 to t = 1 turns noise into samples of the data (Liu
et al., arXiv 2209.03003; Lipman et al., arXiv 2210.02747).

The network may predict the clip (`x`) or the velocity (`v`). For patches of many pixels `x` is the one for small
networks: clips lie on a thin surface that a narrow network can describe, velocities contain all of the noise (Li & He,
arXiv 2511.13720).

Everything here is a function of tensors; a *predictor* is any function of (x_t, t), usually a network with its
conditions filled in. Axes: b clips, c channels, t frames, h and w pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vidbench.errors import InputError

Predictor = Callable[[Tensor, Tensor], Tensor]
"""(x_t, t) to a prediction of x_t's shape; t is (b,) or (b, frames)."""


def along(t: Tensor, x: Tensor) -> Tensor:
    """Times (b,) or (b, frames) in a shape that multiplies x, whose axes are (b, c, frames, ...)."""
    if t.ndim == 2:
        if x.shape[2] % t.shape[1]:
            raise InputError(f"{t.shape[1]} times do not share out over {x.shape[2]} frames")
        t = t.repeat_interleave(x.shape[2] // t.shape[1], dim=1)  # a patch of several frames has one time
        return t.reshape(t.shape[0], 1, t.shape[1], *(1,) * (x.ndim - 3))
    return t.reshape(t.shape[0], *(1,) * (x.ndim - 1))


def noised(clips: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t: the noise at t = 0, the clips at t = 1."""
    at = along(t, clips)
    return (1 - at) * noise + at * clips


def velocity_of(predicted_clips: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Velocity by predicted clips: (clip - x_t) / (1 - t), for t below 1."""
    return (predicted_clips - x_t) / (1 - along(t, x_t))


def clips_of(predicted_velocity: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Clips by predicted velocity: x_t + (1 - t) v."""
    return x_t + (1 - along(t, x_t)) * predicted_velocity


@dataclass(frozen=True)
class Times:
    """Which times are trained: a share at pure noise, the rest logit-normal (Esser et al., arXiv 2403.03206).

    A sampler of one step asks the network at t = 0 only, which a density would all but never draw.
    """

    at_noise: float = 0.35
    """Share of t = 0."""
    mean: float = -0.5
    """Of logit(t): below 0 there is more noise than clip."""
    deviation: float = 1.0
    """Of logit(t)."""

    def __post_init__(self) -> None:
        if not 0 <= self.at_noise <= 1 or not self.deviation >= 0 or not math.isfinite(self.mean):
            raise InputError(f"times need a share at noise from 0 to 1 and a deviation of 0 or more; got {self}")

    def draw(self, *shape: int, generator: torch.Generator | None = None, device: torch.device | str = "cpu") -> Tensor:
        """Times of this shape, float32 from 0 up to, not including, 1; the same numbers on every device."""
        t = torch.sigmoid(self.mean + self.deviation * torch.randn(shape, generator=generator))
        t = t.masked_fill(torch.rand(shape, generator=generator) < self.at_noise, 0.0)
        return t.clamp(max=1 - 1e-4).to(device)


def loss(
    prediction: Tensor,
    clips: Tensor,
    noise: Tensor,
    t: Tensor,
    *,
    predicts: str = "x",
    weights: Tensor | None = None,
    most_weight: float | None = None,
) -> Tensor:
    """Mean squared error of each frame.

    Args:
        prediction: what the network said of `noised(clips, noise, t)`.
        clips: (b, c, t, h, w).
        noise: same shape.
        t: (b,) or (b, frames).
        predicts: `x` or `v`; the error is taken in what is predicted.
        weights: of pixels, broadcast over clips, such as more where something moves; None: 1.
        most_weight: with `x`, weigh by 1 / (1 - t)^2 up to this; without bound it is the velocity's error. None: 1.

    Returns:
        (b, t) losses; the mean over all is what is trained, and `loss_by_time` shows where they come from.
    """
    wanted = clips - noise if _known(predicts) == "v" else clips
    error = (prediction - wanted).square()
    if weights is not None:
        error = error * weights
    if most_weight is not None and predicts == "x":
        error = error * (1 / (1 - along(t, clips)).square()).clamp(max=most_weight)
    return error.transpose(1, 2).flatten(2).mean(2)


@dataclass(frozen=True)
class TimeBin:
    """Losses of the times from `low` up to `high`."""

    low: float
    high: float
    count: int
    mean: float | None
    """None where no time fell into the bin."""


def loss_by_time(losses: Tensor, t: Tensor, bins: int = 10) -> list[TimeBin]:
    """Mean loss in equal bins of t: the loss as a whole says little, for it depends on which times were drawn.

    Args:
        losses: (b, frames), from `loss`.
        t: (b,) or (b, frames or a divisor of it).
        bins: how many.
    """
    each = along(t, losses[:, None]).expand_as(losses[:, None]).reshape(-1)
    where = (each * bins).long().clamp(0, bins - 1)
    count = torch.bincount(where, minlength=bins).tolist()
    total = torch.bincount(where, weights=losses.reshape(-1).double(), minlength=bins).tolist()
    return [TimeBin(i / bins, (i + 1) / bins, count[i], total[i] / count[i] if count[i] else None) for i in range(bins)]


def guided(said: Predictor, unsaid: Predictor, scale: float) -> Predictor:
    """Classifier-free guidance (Ho & Salimans, arXiv 2207.12598): unsaid + scale (said - unsaid).

    It is the same for `x` and `v`. At scale 1 the second network is not asked.
    """
    if scale == 1:
        return said

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        without = unsaid(x_t, t)
        return without + scale * (said(x_t, t) - without)

    return predict


def even_times(steps: int) -> list[float]:
    """0, 1 / steps, …, 1."""
    if steps < 1:
        raise InputError(f"sampling needs at least one step, got {steps}")
    return [i / steps for i in range(steps + 1)]


def sample(predict: Predictor, noise: Tensor, times: int | Sequence[float] = 2, *, predicts: str = "x") -> Tensor:
    """Euler's method from noise at t = 0 to clips at t = 1.

    A step with a predicted clip moves x_t towards it by the share (s - t) / (1 - t) of the way; the last step arrives
    at what is predicted. Nothing is random but the noise that is given.

    Args:
        predict: asked once a step, never at t = 1.
        noise: (b, c, t, h, w) standard normal; the result has its device and dtype.
        times: how many even steps, or the times themselves, rising from 0 to 1.
        predicts: what `predict` says, `x` or `v`.

    Raises:
        InputError: no steps, or times that do not rise from 0 to 1.
    """
    _known(predicts)
    schedule = even_times(times) if isinstance(times, int) else list(times)
    if len(schedule) < 2 or schedule[0] != 0 or schedule[-1] != 1 or schedule != sorted(set(schedule)):
        raise InputError(f"times must rise from 0 to 1, got {schedule}")
    x = noise
    precision = torch.promote_types(x.dtype, torch.float32)
    for now, then in itertools.pairwise(schedule):
        t = torch.full((len(x),), now, device=x.device, dtype=precision)
        said = predict(x, t)
        if predicts == "v":
            x = x + (then - now) * said
        elif then == 1:
            x = said
        else:
            x = x + (then - now) / (1 - now) * (said - x)
    return x


def given_past(predict: Predictor, past: Tensor) -> Predictor:
    """A predictor of new frames from one of whole clips: clean frames go first, at time 1.

    Args:
        predict: of (b, c, past + t, h, w) with times (b, past + t).
        past: (b, c, past, h, w), clean.
    """

    def of_new(x_t: Tensor, t: Tensor) -> Tensor:
        new = t[:, None].expand(-1, x_t.shape[2]) if t.ndim == 1 else t
        times = torch.cat((t.new_ones(len(x_t), past.shape[2]), new), dim=1)
        return predict(torch.cat((past, x_t), dim=2), times)[:, :, past.shape[2] :]

    return of_new


def _known(predicts: str) -> str:
    if predicts not in ("x", "v"):
        raise InputError(f"a prediction is of 'x' or 'v', not '{predicts}'")
    return predicts
