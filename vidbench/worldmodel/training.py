"""Training a transformer to go on from frames: one loop for all that are told actions, goals or nothing.

What was measured to matter (docs/worldmodel.md): the output is the clip itself, added to the last of K clean past
frames; pixels that change count more; most of the time the network sees pure noise, as the one-step sampler does; small
batches and many steps; and, once it is roughly right, part of the time the past frames are its own output, so that it
learns to go on from its own mistakes.

Everything that is drawn is drawn by the number of the step. With a budget in steps, training that was interrupted and
goes on ends with the same weights as training that was not.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidbench.errors import InputError
from vidbench.files import write_atomic
from vidbench.generator import Budget, Meter, Progress, Report
from vidbench.worldmodel import flow
from vidbench.worldmodel.conditions import Conditions
from vidbench.worldmodel.config import DiTConfig
from vidbench.worldmodel.dit import DiT, stack_past
from vidbench.worldmodel.imagining import next_frame
from vidbench.worldmodel.optimiser import MovingAverage, Optimiser, OptimiserConfig
from vidbench.worldmodel.windows import Batch, Play, Windows, to_levels, to_unit

_STATE = "vidbench-training-1"
_BINS = 5
_REPORTS = 20
"""Reports over the whole budget."""
_SAVE_EVERY = 60.0
"""CPU-seconds between two saves of the state."""


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained."""

    config: DiTConfig
    beside: int = 0
    """C, how many frames are learned together beside the last one; above 0 only where blocks look across time."""
    batch: int = 24
    """Windows a step."""
    at_noise: float = 0.7
    """Share of t = 0, see `flow.Times`."""
    changed_weight: float = 4.0
    """How much more a pixel counts that differs from the last frame; 0: all count alike."""
    own_output: float = 0.6
    """Share of the steps whose latest past frames are the network's own output; only with C = 0."""
    own_frames: int = 3
    """At most so many past frames are its own; drawn evenly from 1."""
    own_from: float = 0.2
    """Share of the budget before that begins."""
    drop: float = 0.1
    """Share of conditions that are forgotten."""
    embedding_deviation: float = 1.0
    """Of fresh embeddings of actions and goals: with DiT's 0.02 the network is long deaf to them."""
    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(steps=1, adamw_rate=3e-3))
    """Its schedule in steps is not used: rates warm up over `warmup` steps and fall over
    the last `decay` of the budget."""
    average: float = 0.995
    """Decay of the moving average of the weights, which is what is kept."""

    def __post_init__(self) -> None:
        if self.beside and self.own_output:
            raise InputError("own output is learned one frame at a time: with beside above 0 set own_output=0")


@dataclass(frozen=True)
class Trained:
    """What training leaves."""

    network: DiT
    """The average of the weights, in eval mode."""
    steps: int
    cpu_seconds: float


def fresh(recipe: Recipe, seed: int) -> DiT:
    """An untrained network; equal seeds give equal weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DiT(recipe.config)
        for embedder in (network.conditions.action, network.conditions.label):
            if embedder is not None:
                nn.init.normal_(embedder.table.weight, std=recipe.embedding_deviation)
    return network


def told(recipe: Recipe, actions: Tensor, goals: Tensor) -> Conditions:
    """Of a batch what the network can be told."""
    config = recipe.config
    return Conditions(actions=actions if config.actions else None, label=goals if config.classes else None)


class _Training:
    """All that changes from step to step."""

    def __init__(self, recipe: Recipe, play: Play, seed: int) -> None:
        self.recipe = recipe
        self.play = play
        self.seed = seed
        self.network = fresh(recipe, seed)
        self.optimiser = Optimiser(self.network, recipe.optimiser)
        self.average = MovingAverage(self.network, recipe.average)
        self.times = flow.Times(recipe.at_noise)

    def step(self, number: int, share: float) -> tuple[Tensor, Tensor]:
        """One optimiser step.

        Returns:
            (b, C + 1) losses and times, detached.
        """
        recipe, config = self.recipe, self.recipe.config
        rng = np.random.default_rng([self.seed, number])
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        past_frames, frames = config.past_frames, recipe.beside + 1
        own = 0
        if share >= recipe.own_from and rng.random() < recipe.own_output:
            own = int(rng.integers(1, recipe.own_frames + 1))
        batch = self.play.training.draw(recipe.batch, past_frames + own + frames, rng)
        seen = self._with_own_output(batch, own, generator)  # (b, K + frames, 3, h, w)
        clip = seen.transpose(1, 2)
        clips, past = clip[:, :, past_frames:], stack_past(clip, past_frames)
        t = self.times.draw(len(clips), frames, generator=generator)
        noise = torch.randn(clips.shape, generator=generator)
        conditions = told(recipe, batch.actions[:, -frames:], batch.goals).dropped(recipe.drop, generator)
        said = self.network(flow.noised(clips, noise, t), t, conditions, past=past).frames
        weights = None
        if recipe.changed_weight:
            changed = (clips - past[:, -3:]).abs().amax(1, keepdim=True) > 2 / 255
            weights = 1 + recipe.changed_weight * changed
        losses = flow.loss(said, clips, noise, t, predicts=config.prediction, weights=weights)
        losses.mean().backward()
        warm = min(1.0, (number + 1) / (recipe.optimiser.warmup + 1))
        self.optimiser.step(warm * min(1.0, max(1e-3, (1 - share) / max(recipe.optimiser.decay, 1e-3))))
        self.average.update(self.network)
        return losses.detach(), t

    def _with_own_output(self, batch: Batch, own: int, generator: torch.Generator) -> Tensor:
        """The last K + frames frames of a batch, the newest `own` past ones made by the network itself."""
        past_frames = self.recipe.config.past_frames
        if not own:
            return batch.frames
        config = self.recipe.config
        seen = batch.frames[:, :past_frames]
        goals = batch.goals if config.classes else None
        with torch.no_grad():
            for at in range(own):
                noise = torch.randn((len(seen), 3, 1, *seen.shape[3:]), generator=generator)
                action = batch.actions[:, past_frames + at - 1, None] if config.actions else None
                new = to_unit(to_levels(next_frame(self.network, seen, action, goals, noise)))
                seen = torch.cat((seen[:, 1:], new[:, None]), dim=1)
        return torch.cat((seen, batch.frames[:, past_frames + own :]), dim=1)

    def to_bytes(self, header: Mapping[str, Any]) -> bytes:
        """All that goes on later; no code is run to read it."""
        buffer = io.BytesIO()
        state = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
        }
        torch.save({"format": _STATE, "header": json.dumps(dict(header)), **state}, buffer)
        return buffer.getvalue()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.updates = int(state["updates"])
        self.optimiser.load_state_dict(state["optimiser"])


def train(
    recipe: Recipe,
    play: Play,
    budget: Budget,
    seed: int = 0,
    *,
    progress: Progress | None = None,
    state: Path | None = None,
) -> Trained:
    """Train from nothing, or from where it was interrupted; see `vidbench.generator.Generator.train`.

    Drawing the play counts as training, and so do the held-out measurements of the reports.

    Raises:
        InputError: the state is of another training, or cannot be read or written.
    """
    meter = Meter(budget)
    training = _Training(recipe, play, seed)
    facts = {"recipe": asdict(recipe), "play": asdict(play), "budget": asdict(budget), "seed": seed}
    known = json.loads(json.dumps(facts))
    if state is not None and state.exists():
        saved = _read_state(state, known)
        training.restore(saved)
        header = json.loads(saved["header"])
        meter = Meter(budget, steps=header["steps"], cpu_seconds=header["cpu_seconds"])

    def keep() -> None:
        if state is not None:
            header = {**known, "steps": meter.steps, "cpu_seconds": meter.cpu_seconds}
            try:
                write_atomic(state, training.to_bytes(header))
            except OSError as error:
                raise InputError(f"{state} cannot be written ({error.strerror or error})") from None

    losses: list[Tensor] = []
    times: list[Tensor] = []
    next_report, saved_at = meter.share + 1 / _REPORTS, meter.cpu_seconds
    training.network.train()
    try:
        while not meter.done:
            loss, t = training.step(meter.steps, meter.share)
            meter.steps += 1
            losses.append(loss)
            times.append(t)
            if meter.share >= next_report or meter.done:
                next_report = meter.share + 1 / _REPORTS
                if progress is not None:
                    progress(_report(meter, training, torch.cat(losses), torch.cat(times)))
                losses, times = [], []
            if meter.cpu_seconds - saved_at > _SAVE_EVERY:
                keep()
                saved_at = meter.cpu_seconds
    except KeyboardInterrupt:
        keep()
        raise
    if state is not None:
        state.unlink(missing_ok=True)
    return Trained(training.average.network.eval(), meter.steps, meter.cpu_seconds)


def _report(meter: Meter, training: _Training, losses: Tensor, times: Tensor) -> Report:
    by_time = tuple(each.mean for each in flow.loss_by_time(losses, times, _BINS))
    held_out = one_step_psnr(training.recipe, training.average.network, training.play.held_out)
    return Report(meter.share, meter.steps, meter.cpu_seconds, float(losses.mean()), by_time, held_out)


def one_step_psnr(recipe: Recipe, network: DiT, windows: Windows, count: int = 128) -> dict[str, float]:
    """PSNR of the next frame from true ones, pooled over windows, beside that of repeating the last frame."""
    past_frames, beside = recipe.config.past_frames, recipe.beside
    batch = windows.draw(count, past_frames + beside + 1, np.random.default_rng(0))
    noise = torch.randn((count, 3, 1, *batch.frames.shape[3:]), generator=torch.Generator().manual_seed(0))
    conditions = told(recipe, batch.actions[:, -beside - 1 :], batch.goals)
    with torch.inference_mode():
        made = next_frame(network, batch.frames[:, :-1], conditions.actions, conditions.label, noise)
    truth = batch.frames[:, -1]
    made = to_unit(to_levels(made))

    def psnr(frames: Tensor) -> float:
        return float(10 * torch.log10(4 / (frames - truth).square().mean().clamp(min=1e-10)))

    return {"psnr": psnr(made), "psnr of copying": psnr(batch.frames[:, -2])}


def _read_state(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
        header = json.loads(saved["header"]) if saved["format"] == _STATE else None
    except Exception as error:  # a damaged file may fail in any layer of the unpickler
        raise InputError(f"{path} cannot be read as unfinished training ({type(error).__name__}); delete it") from error
    if header is None or any(header.get(name) != value for name, value in known.items()):
        raise InputError(
            f"{path} is of another training (other budget, seed or version): delete it, or give the command it is of"
        )
    return saved
