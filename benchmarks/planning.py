"""Planning with a learned model: a small transformer is trained here on the spot, then walks through held-out rooms.

    python -m benchmarks.planning --cpu-seconds 240 --rooms 100
    python -m benchmarks.planning --quick

One network is told actions in half of its training and goals in the other half. It is trained on training rooms only:
sticky random play for actions, an expert's walks for goals. Says how exact its frames are, how well inverse dynamics
reads them, and what each planner reaches beside chance, greed and the oracle. Budgets are CPU-seconds of this process,
estimated from the first steps.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray

from vidbench.worldmodel.conditions import Conditions
from vidbench.worldmodel.config import DiTConfig
from vidbench.worldmodel.dit import DiT, stack_past
from vidbench.worldmodel.flow import Times, loss, noised, sample
from vidbench.worldmodel.game import (
    Episodes,
    Rooms,
    RoomSettings,
    expert_policy,
    find_agent,
    heldout_seed,
    record,
    sticky_policy,
    training_seed,
)
from vidbench.worldmodel.optimiser import MovingAverage, Optimiser, OptimiserConfig
from vidbench.worldmodel.plan.contest import Models, Row, contest, quick_inverse
from vidbench.worldmodel.rooms.settings import GOAL_WORDS

PAST = 4
AHEAD = 8
BATCH = 16
FrameArray = NDArray[np.uint8]


class Learned:
    """A trained network as the planners' model: actions or goals in, frames out, rounded to levels after each."""

    context = PAST

    def __init__(self, network: DiT, seed: int = 0) -> None:
        self._network = network
        self._generator = torch.Generator().manual_seed(seed)

    def imagine(self, history: FrameArray, actions: NDArray[np.int64]) -> FrameArray:
        """See `Imagination.imagine`."""
        return self._roll(history, torch.from_numpy(actions), None, actions.shape[1])

    def imagine_goal(self, history: FrameArray, goals: NDArray[np.int64], steps: int) -> FrameArray:
        """See `GoalImagination.imagine_goal`."""
        return self._roll(history, None, torch.from_numpy(goals), steps)

    @torch.inference_mode()
    def _roll(
        self, history: FrameArray, actions: torch.Tensor | None, goals: torch.Tensor | None, steps: int
    ) -> FrameArray:
        seen, frames = history, []
        for step in range(steps):
            past = unit(seen[:, -PAST:]).flatten(1, 2)[:, :, None]  # (b, K * 3, 1, h, w)
            noise = torch.randn((len(past), 3, 1, *past.shape[3:]), generator=self._generator)
            said = Conditions(None if actions is None else actions[:, step : step + 1], goals)

            def predict(
                x: torch.Tensor, t: torch.Tensor, said: Conditions = said, past: torch.Tensor = past
            ) -> torch.Tensor:
                return self._network(x, t, said, past=past).frames

            new = sample(predict, noise, 1)[:, :, 0]
            levels = ((new + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
            frames.append(levels)
            seen = np.concatenate([seen[:, 1:], levels[:, None]], 1)
        return np.stack(frames, 1)


def unit(frames: FrameArray) -> torch.Tensor:
    """(b, t, h, w, 3) levels to (b, t, 3, h, w) from -1 to 1."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 1, 4, 2, 3).float() / 127.5 - 1


def play(seed: int, rooms: int) -> tuple[Episodes, Episodes]:
    """Sticky random play, and experts' walks."""
    settings = RoomSettings(start="anywhere")
    free = record(Rooms(rooms, seed=training_seed(2 * seed), settings=settings), sticky_policy(seed), 24)
    experts = Rooms(rooms, seed=training_seed(2 * seed + 1))
    goals = np.arange(rooms) % len(GOAL_WORDS)
    return free, record(experts, expert_policy(experts, goals), 36, goals=goals)


def train(cpu_seconds: float, seed: int, width: int, depth: int, rooms: int) -> tuple[DiT, int]:
    """A network, and after how many steps."""
    torch.manual_seed(seed)
    network = DiT(DiTConfig(width=width, depth=depth, past_frames=PAST, actions=5, classes=5, temporal_blocks=()))
    free, experts = play(seed, rooms)
    # Of a walk, only what leads to the goal: staying there for long would teach to stand still.
    lasts = np.clip(experts.arrival + 2, PAST + 1 + AHEAD, experts.frames.shape[1] + 1) - AHEAD
    late = [(n, t) for n in range(len(experts)) for t in range(PAST, int(lasts[n]))]
    walks, rng, times = np.array(late), np.random.default_rng(seed), Times()
    began, steps = time.process_time(), 0
    optimiser: Optimiser | None = None
    average = MovingAverage(network, 0.99)
    while optimiser is None or steps < optimiser.config.steps:
        half = BATCH // 2
        rows, starts = rng.integers(0, len(free), half), rng.integers(PAST, 26 - AHEAD, half)
        chosen = walks[rng.integers(0, len(walks), half)]
        clips = np.stack(
            [free.frames[n, t - PAST : t + AHEAD] for n, t in zip(rows, starts, strict=True)]
            + [experts.frames[n, t - PAST : t + AHEAD] for n, t in chosen]
        )
        led = [free.actions[n, t - 1 : t - 1 + AHEAD] for n, t in zip(rows, starts, strict=True)]
        actions = np.concatenate([np.stack(led), np.full((half, AHEAD), -1)])
        goals = np.concatenate([np.full(half, -1), experts.goals[chosen[:, 0]]])
        whole = unit(clips).transpose(1, 2)  # (b, 3, K + AHEAD, h, w)
        past, new = stack_past(whole, PAST), whole[:, :, PAST:]
        noise, t = torch.randn_like(new), times.draw(BATCH, AHEAD)
        said = Conditions(torch.from_numpy(actions), torch.from_numpy(goals))
        foretold = network(noised(new, noise, t), t, said, past=past).frames
        changed = (new - past[:, -3:]).abs().amax(1, keepdim=True) > 0.05
        error = loss(foretold, new, noise, t, weights=1 + 4 * changed).mean()
        error.backward()
        if optimiser is None:  # the first step says how many there can be
            if steps == 5:
                spent = (time.process_time() - began) / 6
                optimiser = Optimiser(network, OptimiserConfig(steps=max(50, int(cpu_seconds / spent))))
            network.zero_grad(set_to_none=True)
            steps = steps + 1 if optimiser is None else 0
            continue
        optimiser.step()
        average.update(network)
        steps += 1
        if steps % 200 == 0:
            print(f"step {steps} of {optimiser.config.steps}: loss {float(error.detach()):.4f}", flush=True)
    print(f"trained {steps} steps in {time.process_time() - began:.0f} CPU-seconds")
    return average.network, steps


def exactness(model: Learned, seed: int) -> None:
    """One imagined step from real frames of held-out rooms, for all five actions of each moment."""
    rooms = Rooms(100, seed=heldout_seed(1000 + seed), settings=RoomSettings(start="anywhere"))
    rng = np.random.default_rng(seed)
    seen = [rooms.frames()]
    for _ in range(PAST - 1 + 6):
        rooms.step(rng.integers(0, 5, 100))
        seen.append(rooms.frames())
    copies = rooms.repeat(5)
    actions = np.tile(np.arange(5), 100)
    result = copies.step(actions)
    imagined = model.imagine(np.repeat(np.stack(seen[-PAST:], 1), 5, 0), actions[:, None])[:, 0]
    before, true = np.repeat(seen[-1], 5, 0), copies.frames()
    exact = (find_agent(imagined)[0] == copies.truth().agent).all(1)

    def psnr(frames: FrameArray) -> float:
        return float(10 * np.log10(255**2 / ((frames.astype(float) - true) ** 2).mean()))

    print(
        f"one step: agent exact on {exact[result.moved].mean():.3f} of {result.moved.sum()} moves and "
        f"{exact[~result.moved].mean():.3f} of the rest; PSNR {psnr(imagined):.1f} dB, copying {psnr(before):.1f} dB"
    )
    inverse, score = quick_inverse(seed)
    print(f"inverse dynamics, real pairs: {score}")
    print(f"inverse dynamics, generated pairs: {inverse.evaluate(before, imagined, result.effective)}")


def main() -> None:
    """Train, measure, plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-seconds", type=float, default=240)
    parser.add_argument("--rooms", type=int, default=100, help="rooms that planners walk in")
    parser.add_argument("--training-rooms", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--planners", default="random,greedy,oracle,search,words")
    parser.add_argument("--quick", action="store_true", help="for trying it out, not for publishing")
    given = parser.parse_args()
    if given.quick:
        given.cpu_seconds, given.rooms, given.training_rooms = 10, 10, 200
    torch.set_num_threads(1)
    network, _ = train(given.cpu_seconds, given.seed, given.width, given.depth, given.training_rooms)
    model = Learned(network)
    exactness(model, given.seed)
    rooms = Rooms(given.rooms, seed=heldout_seed(given.seed))
    goals = np.arange(given.rooms) % len(GOAL_WORDS)
    inverse, _ = quick_inverse(given.seed)

    def told(row: Row) -> None:
        result = row.result
        low, high = result.interval.low or 0.0, result.interval.high or 0.0
        goals_told = ", ".join(f"{goal} {rate:.2f}" for goal, rate in result.rate_by_goal().items())
        print(
            f"{row.planner:<9} success {result.rate:.2f} ({low:.2f} to {high:.2f}), SPL {result.spl:.2f}, nearer "
            f"{result.nearer:.2f}, {row.cpu_seconds:.0f} CPU-seconds; {goals_told}",
            flush=True,
        )

    contest(rooms, goals, given.planners.split(","), Models(model, model), inverse, seed=given.seed, finished=told)


if __name__ == "__main__":
    main()
