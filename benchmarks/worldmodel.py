"""How good the world model is, against the simulator in held-out rooms.

    python benchmarks/worldmodel.py                                 the checkpoint that comes with the package
    python benchmarks/worldmodel.py a.safetensors b.safetensors     others; mean and worst over all
    python benchmarks/worldmodel.py --train 600 --seeds 3           from nothing, 600 CPU-seconds a seed
    python benchmarks/worldmodel.py --attention 100                 joint, divided, window attention, each so long

`benchmarks/worldmodel_pictures.py` draws. Trivial baselines stand below: repeating the last frame, the model told to
stand still, the model told other scenes' actions. All numbers are higher is better; targets in the last row.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidbench.generator import Budget, History
from vidbench.plugins import generators
from vidbench.worldmodel.config import DiTConfig
from vidbench.worldmodel.dit import DiT
from vidbench.worldmodel.generators import PAST_FRAMES, DitAction, one_thread
from vidbench.worldmodel.imagining import imagine
from vidbench.worldmodel.measures import Imagine, Measures, copy_last, deaf, imagine_of, measure, scenes, shuffled
from vidbench.worldmodel.training import Recipe, train
from vidbench.worldmodel.windows import Play

COLUMNS = (
    ("gain", "gain dB", "{:.2f}"),
    ("agent_exact", "agent exact", "{:.3f}"),
    ("nearest_true", "nearest", "{:.3f}"),
    ("delta_psnr", "dPSNR t=4", "{:.2f}"),
    ("roll_gain", "roll-16 dB", "{:.2f}"),
    ("roll_agent_exact", "roll-16 exact", "{:.3f}"),
    ("revisit", "3+3 back", "{:.3f}"),
    ("agent_exact_all", "exact, all", "{:.3f}"),
)
TARGETS = {
    "gain": 8.0,
    "agent_exact": 0.97,
    "nearest_true": 0.97,
    "delta_psnr": 4.5,
    "roll_gain": 4.0,
    "roll_agent_exact": 0.80,
    "revisit": 0.90,
}


def row(name: str, values: dict[str, float]) -> str:
    """A line of the table."""
    cells = (form.format(values[key]) if key in values else "" for key, _, form in COLUMNS)
    return f"{name:<28}" + "".join(f"{cell:>14}" for cell in cells)


def numbers(measures: list[Measures], worst: bool = False) -> dict[str, float]:
    """Mean, or least, of each column."""
    pick = min if worst else np.mean
    return {key: float(pick([getattr(each, key) for each in measures])) for key, _, _ in COLUMNS}


def over_seeds(imagine: Imagine, rooms: int, seeds: int) -> list[Measures]:
    """Measures in several sets of held-out rooms."""
    return [measure(imagine, rooms=rooms, seed=seed) for seed in range(seeds)]


def _asked(network: DiT, beside: int, history: History, actions: NDArray[np.int64]) -> NDArray[np.uint8]:
    return imagine(
        network,
        history.frames,
        actions.shape[1],
        actions=actions,
        past_actions=history.actions,
        beside=beside,
    )


def attention_rows(cpu_seconds: float) -> None:
    """Four frames at once with one clean frame before each: what is learned across time is learned by attention."""
    print(f"\nattention across time: {cpu_seconds:g} CPU-s each, one clean frame as channels, 4 frames at once")
    for name in ("none", "joint", "divided", "window"):
        config = DiTConfig(
            patch=(1, 4, 4),
            width=64,
            depth=4,
            heads=2,
            past_frames=1,
            actions=5,
            attention="joint" if name == "none" else name,
            temporal_blocks=() if name == "none" else None,
        )
        beside = 0 if name == "none" else 3
        recipe = Recipe(config, beside=beside, batch=24 if name == "none" else 8, own_output=0.0)
        trained = train(recipe, Play(), Budget(cpu_seconds=cpu_seconds), 0)

        ask = partial(_asked, trained.network, beside)
        size = sum(p.numel() for p in trained.network.parameters())
        print(row(f"{name} ({size / 1e3:.0f}k, {trained.steps} steps)", numbers([measure(ask, rooms=96)])), flush=True)


def frame_rate(generator: DitAction, seconds: float = 3.0) -> float:
    """Frames a CPU-second in play: one scene, one frame at a time."""
    _, history = scenes(1, 0)
    frames, count, began = history.frames, 0, time.process_time()
    while time.process_time() - began < seconds:
        new = generator.imagine(History(frames), actions=np.array([[count % 5]])).frames
        frames, count = np.concatenate([frames[:, 1:], new], 1), count + 1
    return count / (time.process_time() - began)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--generator", default="dit-action", help="any that is told actions")
    parser.add_argument("--train", type=float, help="CPU-seconds of training a seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rooms", type=int, default=128, help="five times as many one-step cases, for each of 3 sets")
    parser.add_argument("--attention", type=float, help="CPU-seconds for each kind of attention")
    parser.add_argument("--json", type=Path, help="write all numbers")
    given = parser.parse_args()
    one_thread()
    kind = generators().load(given.generator)
    if given.attention:
        print(" " * 28 + "".join(f"{title:>14}" for _, title, _ in COLUMNS))
        attention_rows(given.attention)
        return
    if given.train:
        models = {
            f"seed {seed}, {given.train:g} CPU-s": kind.train(Budget(cpu_seconds=given.train), seed)
            for seed in range(given.seeds)
        }
    else:
        models = {path.stem: kind.load(path) for path in given.checkpoints} or {"shipped": kind.open()}
    print(" " * 28 + "".join(f"{title:>14}" for _, title, _ in COLUMNS))
    kept, every = {}, []
    for name, model in models.items():
        found = over_seeds(imagine_of(model), given.rooms, 3)
        every += found
        kept[name] = [each.to_json() for each in found]
        print(row(name, numbers(found)), flush=True)
    if len(models) > 1:
        print(row("mean", numbers(every)))
    print(row("worst of all sets", numbers(every, worst=True)))
    first = imagine_of(next(iter(models.values())))
    for name, baseline in (
        ("copy last", copy_last),
        ("told to stand still", deaf(first)),
        ("wrong actions", shuffled(first)),
    ):
        print(row(name, numbers(over_seeds(baseline, given.rooms, 3))), flush=True)
    print(row("target", TARGETS))
    n = every[0]
    print(f"each row: 3 sets of {n.n} one-step cases, {n.n_moves} moves, {n.n_roll} roll-outs, {n.n_revisit} walks")
    if isinstance(model, DitAction):
        print(f"play: {frame_rate(model):.1f} frames a CPU-second, {PAST_FRAMES} past frames")
    if given.json:
        given.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
