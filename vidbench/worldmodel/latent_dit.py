"""A transformer told codes instead of actions: a world model of video that nobody labelled.

First codes are found (`vidbench.worldmodel.latent`), then the transformer of `vidbench.worldmodel.dit` learns to go on
from frames, told for each frame the code that led to it, and last a few labelled transitions say which code is which
action (`ActionMap`). Labels are used nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidbench.errors import InputError
from vidbench.worldmodel import checkpoint, flow
from vidbench.worldmodel.conditions import Conditions
from vidbench.worldmodel.config import DiTConfig
from vidbench.worldmodel.dit import DiT, stack_past
from vidbench.worldmodel.latent import ActionMap
from vidbench.worldmodel.optimiser import MovingAverage, Optimiser, OptimiserConfig
from vidbench.worldmodel.rssm import as_pixels, as_tensor

PAST_FRAMES = 4
_TARGETS = 6
_BATCH = 16
_CHANGED_WEIGHT = 4.0
_OWN_FROM = 0.25
_OWN_SHARE = 0.5
_MAP = "action_map"


def config_for(codes: int) -> DiTConfig:
    """Four past frames as channels, each frame by itself: what costs least for what it gives."""
    return DiTConfig(
        patch=(1, 8, 8), width=96, depth=3, heads=4, temporal_blocks=(), past_frames=PAST_FRAMES, actions=codes
    )


class DitTraining:
    """Training that can be stopped after any step and gone on with.

    Args:
        frames: (N, T, H, W, 3) uint8 video.
        codes: (N, T - 1) of its transitions.
        n_codes: how many codes there are.
        seed: of weights and draws.

    Raises:
        InputError: clips too short, or codes of another shape.
    """

    def __init__(self, frames: NDArray[np.uint8], codes: NDArray[np.int64], n_codes: int, seed: int = 0) -> None:
        if codes.shape != (frames.shape[0], frames.shape[1] - 1) or frames.shape[1] < PAST_FRAMES + _TARGETS:
            raise InputError(
                f"clips of at least {PAST_FRAMES + _TARGETS} frames with a code between each two are needed, got "
                f"{frames.shape} and {codes.shape}"
            )
        self.frames, self.codes = frames, codes
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = DiT(config_for(n_codes))
            action = self.network.conditions.action
            if action is not None:
                # With DiT's deviation of 0.02 the network is long deaf to codes.
                nn.init.normal_(action.table.weight, std=1.0)
        self._optimiser = Optimiser(self.network, OptimiserConfig(steps=1, adamw_rate=3e-3))
        self.average = MovingAverage(self.network, 0.99)
        self._times = flow.Times(0.7)
        self.steps_done = 0

    def step(self, share: float) -> float:
        """One optimiser step at a share of the training; returns the loss."""
        rng, length = self._rng, PAST_FRAMES + _TARGETS
        clip = rng.integers(0, len(self.frames), _BATCH)
        first = rng.integers(0, self.frames.shape[1] - length + 1, _BATCH)
        at = first[:, None] + np.arange(length)
        window = as_tensor(self.frames[clip[:, None], at]).transpose(1, 2)  # (b, 3, length, h, w)
        codes = torch.from_numpy(self.codes[clip[:, None], at[:, PAST_FRAMES - 1 : -1]])
        clips, past = window[:, :, PAST_FRAMES:], stack_past(window, PAST_FRAMES)
        if share > _OWN_FROM and rng.random() < _OWN_SHARE:
            past = self._with_own_last(clips, past, codes)
        t = self._times.draw(_BATCH, _TARGETS, generator=self._generator)
        noise = torch.randn(clips.shape, generator=self._generator)
        told = Conditions(actions=codes).dropped(0.05, self._generator)
        said = self.network(flow.noised(clips, noise, t), t, told, past=past).frames
        changed = (clips - past[:, -3:]).abs().amax(1, keepdim=True) > 2 / 255
        loss = flow.loss(said, clips, noise, t, weights=1 + _CHANGED_WEIGHT * changed).mean()
        loss.backward()
        self._optimiser.step(min(1.0, (self.steps_done + 1) / 31) * min(1.0, max(0.01, (1 - share) / 0.4)))
        self.average.update(self.network)
        self.steps_done += 1
        return float(loss.detach())

    def _with_own_last(self, clips: Tensor, past: Tensor, codes: Tensor) -> Tensor:
        """The frame before each target as the network itself draws it: it learns to go on from its own mistakes."""
        with torch.no_grad():
            noise = torch.randn(clips.shape, generator=self._generator)
            drawn = self.network(noise, torch.zeros(len(clips)), Conditions(actions=codes), past=past).frames
        drawn = ((drawn.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
        own = past.clone()
        own[:, -3:, 1:] = drawn[:, :, :-1]
        return own

    def state_dict(self) -> dict[str, Any]:
        """To go on later."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "updates": self.average.updates,
            "optimiser": self._optimiser.state_dict(),
            "steps_done": self.steps_done,
            "draws": self._rng.bit_generator.state,
            "noise": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.updates = int(state["updates"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.steps_done = int(state["steps_done"])
        self._rng.bit_generator.state = state["draws"]
        self._generator.set_state(state["noise"])


def imagine_codes(
    network: DiT, frames: NDArray[np.uint8], codes: NDArray[np.int64], *, seed: int = 0, chunk: int = 256
) -> NDArray[np.uint8]:
    """Go on from frames, one for each code, each rounded to levels before the next: (N, T, H, W, 3).

    Args:
        network: trained.
        frames: (N, L, H, W, 3) uint8, the last one is now; the first is repeated where there are too few.
        codes: (N, T).
        seed: of the noise.
        chunk: scenes at once.
    """
    generator = torch.Generator().manual_seed(seed)
    lacking = max(0, PAST_FRAMES - frames.shape[1])
    context = np.concatenate([np.repeat(frames[:, :1], lacking, 1), frames[:, -PAST_FRAMES:]], 1)
    made = np.empty((len(frames), codes.shape[1], *frames.shape[2:]), np.uint8)
    with torch.inference_mode():
        for at in range(0, len(frames), chunk):
            seen = as_tensor(context[at : at + chunk]).transpose(1, 2)  # (b, 3, K, h, w)
            for step in range(codes.shape[1]):
                told = Conditions(actions=torch.from_numpy(codes[at : at + chunk, step : step + 1].copy()))
                noise = torch.randn(seen[:, :, :1].shape, generator=generator)
                past = stack_past(torch.cat((seen, noise), 2), PAST_FRAMES)
                drawn = network(noise, torch.zeros(len(seen)), told, past=past).frames[:, :, 0]
                pixels = as_pixels(drawn)
                made[at : at + chunk, step] = pixels
                seen = torch.cat((seen[:, :, 1:], as_tensor(pixels)[:, :, None]), 2)
    return made


def save(path: Path, network: DiT, actions: ActionMap, notes: Mapping[str, str]) -> None:
    """Write network and map in one file of `vidbench.worldmodel.checkpoint`'s format."""
    named = {"to_code": actions.to_code.tolist(), "to_action": actions.to_action.tolist()}
    checkpoint.save(path, network, {**notes, _MAP: json.dumps(named | {"counts": actions.counts.tolist()})})


def load(path: Path) -> tuple[DiT, ActionMap, dict[str, str]]:
    """What `save` wrote.

    Raises:
        InputError: the file cannot be read, or has no map; names it.
    """
    network, notes = checkpoint.load(path)
    try:
        named = json.loads(notes.pop(_MAP))
        actions = ActionMap(*(np.array(named[key], np.int64) for key in ("to_code", "to_action", "counts")))
        fits = actions.to_code.ndim == 1 and len(actions.to_action) == network.config.actions
        if not fits or not 0 <= int(actions.to_code.min()) <= int(actions.to_code.max()) < network.config.actions:
            raise ValueError("codes are out of range")  # noqa: TRY301  (told with the file below)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not say which code is which action ({error}); train dit-latent anew") from None
    return network, actions, notes
