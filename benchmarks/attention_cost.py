"""What joint, divided and window attention cost on this machine: parameters, memory and CPU-seconds against tokens.

    python -m benchmarks.attention_cost
    python -m benchmarks.attention_cost --quick
    python -m benchmarks.attention_cost --figure docs/attention-cost.svg

One network of two blocks (so that windows shift once) looks at one clip without gradients, on one thread. Each case is
a process of its own: its peak memory is what it grew by while looking, its seconds are the processor's (the least of
some tries), so that a busy machine changes little. "naive" is joint attention that keeps a weight for each head and
pair, as the formula is written down. Ratios are within one run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from vidbench.worldmodel import tokens

GRIDS = [(4, 4, 4), (4, 8, 8), (4, 16, 16), (16, 16, 16), (32, 16, 16), (16, 32, 32), (20, 40, 40)]
"""Frames, rows and columns of tokens: 64 to 32,000."""
NAIVE_UP_TO = 8192
WINDOW = (4, 8, 8)
WIDTH, DEPTH, HEADS = 128, 2, 4
KINDS = ("joint", "naive", "divided", "window")


def measure(kind: str, grid: tuple[int, int, int]) -> dict[str, Any]:
    """One case, in this process: parameters, MB grown by, CPU-seconds of one look."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from vidbench.worldmodel.config import DiTConfig
    from vidbench.worldmodel.dit import DiT

    torch.set_num_threads(1)
    torch.manual_seed(0)
    attention = "joint" if kind == "naive" else kind
    config = DiTConfig(
        patch=(1, 2, 2), width=WIDTH, depth=DEPTH, heads=HEADS, attention=attention, window=WINDOW, causal=False
    )
    network = DiT(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    backend = SDPBackend.MATH if kind == "naive" else SDPBackend.FLASH_ATTENTION
    clip = torch.randn(1, 3, grid[0], 2 * grid[1], 2 * grid[2])
    with torch.inference_mode(), sdpa_kernel([backend, SDPBackend.MATH] if kind == "window" else backend):
        network(torch.randn(1, 3, 2, 4, 4), torch.zeros(1))  # what the first call loads is not counted
        before = _peak_megabytes()
        best, spent, tries = math.inf, 0.0, 0
        while tries < 2 or (spent < 0.5 and tries < 30):
            start = time.process_time()
            network(clip, torch.zeros(1))
            best = min(best, time.process_time() - start)
            spent, tries = spent + best, tries + 1
            if best > 3:
                break
    return {
        "kind": kind,
        "tokens": math.prod(grid),
        "parameters": sum(p.numel() for p in network.parameters()),
        "megabytes": _peak_megabytes() - before,
        "seconds": best,
    }


def _estimate(kind: str, grid: tuple[int, int, int]) -> float:
    """MB that `vidbench tokens` foretells for the activations."""
    clip = tokens.tokens_of((grid[0], 2 * grid[1], 2 * grid[2]), (1, 2, 2))
    size = tokens.NetworkSize(WIDTH, DEPTH, HEADS, dtype="float32")
    found = tokens.cost(clip, size, "joint" if kind == "naive" else kind, WINDOW)
    return 1e3 * found.memory["sample_naive" if kind == "naive" else "sample_flash"] - 4e-6 * found.parameters


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def all_cases(grids: list[tuple[int, int, int]]) -> list[dict[str, Any]]:
    """Every case in a process of its own."""
    rows = []
    for grid in grids:
        for kind in KINDS:
            if kind == "naive" and math.prod(grid) > NAIVE_UP_TO:
                continue
            command = [sys.executable, "-m", "benchmarks.attention_cost", "--case", kind, *map(str, grid)]
            done = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
            rows.append(json.loads(done.stdout))
            row, joint = rows[-1], next(r for r in rows if r["tokens"] == rows[-1]["tokens"])
            print(
                f"{row['tokens']:>8,} {kind:<8} {row['parameters']:>10,} {row['megabytes']:>8.0f}"
                f" {_estimate(kind, grid):>8.0f} {row['seconds']:>9.4f} {row['seconds'] / joint['seconds']:>9.2f}"
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to 4,096 tokens; not for publishing")
    parser.add_argument("--figure", type=Path, help="also draw it, as SVG")
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        t, h, w = map(int, args.case[1:])
        print(json.dumps(measure(args.case[0], (t, h, w))))
        return
    print(f"width {WIDTH}, {DEPTH} blocks, {HEADS} heads, windows of {'x'.join(map(str, WINDOW))}, float32, one thread")
    print("  tokens kind     parameters  peak MB estimate     CPU-s  of joint")
    rows = all_cases(GRIDS[:4] if args.quick else GRIDS)
    for count in sorted({row["tokens"] for row in rows}):
        cheapest = min((row for row in rows if row["tokens"] == count), key=lambda row: row["seconds"])
        print(f"{count:>8,} tokens: {cheapest['kind']} takes the least time")
    if args.figure:
        from benchmarks.worldmodel_figures import cost_chart

        args.figure.write_text(cost_chart(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
