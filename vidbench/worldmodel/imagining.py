"""Going on from real frames with a trained transformer: frame after frame, each rounded to levels before the next.

Rounding is what DIAMOND does (Alonso et al., arXiv 2405.12399): what is seen next is a picture, without the small
errors that floats would carry along.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidbench.worldmodel.conditions import Conditions
from vidbench.worldmodel.dit import DiT, stack_past
from vidbench.worldmodel.flow import given_past, sample
from vidbench.worldmodel.windows import to_levels, to_unit

CHUNK = 256
"""Scenes at once: bounds the memory."""


def next_frame(
    network: DiT,
    seen: Tensor,
    actions: Tensor | None,
    goals: Tensor | None,
    noise: Tensor,
    steps: int = 1,
) -> Tensor:
    """One frame more.

    Args:
        network: with K past frames as channels.
        seen: (b, L, 3, h, w) clean frames from -1 to 1; L = K + C, of which the network looks at the last C as frames
            of their own beside the new one (C = 0 where no block looks across time).
        actions: (b, C + 1) that led to the last C frames and leads to the new one, or None.
        goals: (b,) instruction ids, or None.
        noise: (b, 3, 1, h, w) standard normal.
        steps: of the sampler.

    Returns:
        (b, 3, h, w), not rounded.
    """
    past_frames = network.config.past_frames
    clip = seen.transpose(1, 2)  # (b, 3, L, h, w)
    clean = clip[:, :, past_frames:]  # (b, 3, C, h, w)
    # The new frame is not known yet; any stands in for it, since `stack_past` looks at what is before a frame.
    past = stack_past(torch.cat((clip, noise), dim=2), past_frames)  # (b, K * 3, C + 1, h, w)
    conditions = Conditions(actions=actions, label=goals)

    def predict(x: Tensor, t: Tensor) -> Tensor:
        return network(x, t, conditions, past=past).frames

    predictor = given_past(predict, clean) if clean.shape[2] else predict
    return sample(predictor, noise, steps, predicts=network.config.prediction)[:, :, 0]


def imagine(
    network: DiT,
    frames: NDArray[np.uint8],
    steps: int,
    *,
    actions: NDArray[np.int64] | None = None,
    past_actions: NDArray[np.int64] | None = None,
    goals: NDArray[np.int64] | None = None,
    beside: int = 0,
    sampler_steps: int = 1,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Go on from frames.

    Args:
        network: trained.
        frames: (N, L, h, w, 3) uint8, the last one is now.
        steps: T.
        actions: (N, T), or None.
        past_actions: (N, L - 1) that led to the frames; None: not said. Only networks with C above 0 look at them.
        goals: (N,) instruction ids, or None.
        beside: C, how many clean frames the network looks at beside the new one.
        sampler_steps: of each frame.
        seed: of the noise.

    Returns:
        (N, T, h, w, 3) uint8.
    """
    network.eval()
    device = next(network.parameters()).device
    need = network.config.past_frames + beside
    count, length = frames.shape[:2]
    lacking = max(0, need - length)
    context = np.concatenate([np.repeat(frames[:, :1], lacking, 1), frames[:, max(0, length - need) :]], 1)
    generator = torch.Generator().manual_seed(seed)
    made = [np.zeros((0, steps, *frames.shape[2:]), np.uint8)]
    led = None
    if actions is not None:
        before = np.full((count, length - 1), -1) if past_actions is None else past_actions
        before = np.concatenate([np.full((count, max(0, beside - (length - 1))), -1), before], 1)
        led = np.concatenate([before[:, before.shape[1] - beside :], actions], 1)
    with torch.inference_mode():
        for at in range(0, count, CHUNK):
            part = slice(at, at + CHUNK)
            seen = to_unit(torch.from_numpy(np.ascontiguousarray(context[part])).permute(0, 1, 4, 2, 3).to(device))
            part_goals = None if goals is None else torch.from_numpy(goals[part]).to(device)
            new = []
            for step in range(steps):
                told = None if led is None else torch.from_numpy(led[part, step : step + beside + 1]).to(device)
                noise = torch.randn((len(seen), 3, 1, *seen.shape[3:]), generator=generator).to(device)
                levels = to_levels(next_frame(network, seen, told, part_goals, noise, sampler_steps))
                new.append(levels)
                seen = torch.cat((seen[:, 1:], to_unit(levels)[:, None]), dim=1)
            made.append(torch.stack(new, 1).permute(0, 1, 3, 4, 2).cpu().numpy())
    return np.concatenate(made)
