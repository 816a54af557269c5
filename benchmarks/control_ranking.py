"""Do the metrics of control put generators in the order that the true game puts them in?

    python -m benchmarks.control_ranking [--n 48] [--folder FOLDER]

Makes clips with every shipped generator that is told actions, in equal scenes; scores them, their true clips and broken
copies with the suite `control`; and compares each metric's order with the truth: in what share of the frames after the
first the agent is exactly where the game puts it (`find_agent` against the game's own cells). The true clips come
first, broken copies last, whatever they show. Kendall's tau over the pairs that the truth orders; pairs of generators
whose exactness is within two standard errors over clips are left out, and told.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np

GENERATORS = ("dit-action", "rssm", "dit-latent")
BROKEN = "frozen,shuffled,noise,wrong-actions"
METRICS = ("action_consistency", "counterfactual_divergence", "delta_t_psnr")
READS_ACTIONS = ("action_consistency",)
"""The others compare clips with their true clips: right pixels under wrong labels are right for them."""


def vidbench(*arguments: object) -> None:
    """Run a command, and stop where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "vidbench", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):
        raise SystemExit(done.stderr)


def together(folder: Path, n: int, frames: int) -> None:
    """One clip folder of all generators and the truth."""
    rows: dict[str, str] = {}
    for name in GENERATORS:
        made = folder.parent / f"only-{name}"
        vidbench("generate", name, "--n", n, "--frames", frames, "-o", made)
        for line in (made / "metadata.jsonl").read_text(encoding="utf-8").splitlines():
            rows[json.loads(line)["file_name"]] = line
        shutil.copytree(made, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("metadata.jsonl"))
    (folder / "metadata.jsonl").write_text("".join(f"{line}\n" for line in rows.values()), encoding="utf-8")


def exactness(folder: Path, model: str) -> np.ndarray:
    """(clips,) share of the frames after the first that show the agent where the game puts it."""
    from vidbench.worldmodel.game import find_agent

    shares = []
    truth = {}
    for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        truth[row["file_name"]] = row
    for name, row in truth.items():
        if row["model"] != model:
            continue
        with np.load(folder / name) as file:
            pixels = file[file.files[0]]
        cells, _ = find_agent(pixels[1:])
        true = np.array(truth[row.get("reference", name)]["agent"])[1:]
        shares.append(float((cells == true).all(axis=1).mean()))
    return np.array(shares)


def tau(values: dict[str, float], levels: dict[str, float], open_pairs: set[frozenset[str]]) -> tuple[float, int]:
    """Concordant less discordant pairs by their number; a tie that the truth orders counts as none."""
    signs = [
        float(np.sign(values[a] - values[b]) * np.sign(levels[a] - levels[b]))
        for a, b in combinations(values, 2)
        if levels[a] != levels[b] and frozenset((a, b)) not in open_pairs
    ]
    return float(np.mean(signs)) if signs else float("nan"), len(signs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=48, help="clips of each generator")
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--folder", type=Path, help="keep clips and run there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = given.folder or Path(temporary)
        clips = root / "clips"
        clips.mkdir(parents=True)
        together(clips, given.n, given.frames)
        arguments = ("--suite", "control", "--reference", clips / "true", "--baselines", BROKEN, "-j", 1)
        vidbench("run", clips, *arguments, "--out", root / "run")
        summary = json.loads((root / "run" / "summary.json").read_text(encoding="utf-8"))
        shares = {model: exactness(clips, model) for model in ("true", *GENERATORS)}
    levels = {model: float(share.mean()) for model, share in shares.items()}
    levels |= {f"baseline:{name}": -1.0 for name in BROKEN.split(",")}
    errors = {model: float(share.std(ddof=1) / np.sqrt(len(share))) for model, share in shares.items()}
    unsure = {
        frozenset((a, b))
        for a, b in combinations(GENERATORS, 2)
        if abs(levels[a] - levels[b]) < 2 * np.hypot(errors[a], errors[b])
    }
    by_metric = {
        metric: {s["model"]: s["value"] for s in summary["scores"] if s["metric"] == metric} for metric in METRICS
    }
    print(f"{'':24}{'agent exact':>12}" + "".join(f"{metric:>28}" for metric in METRICS))
    for model, level in sorted(levels.items(), key=lambda item: -item[1]):
        told = f"{level:.3f}" if level >= 0 else "broken"
        cells = (by_metric[metric].get(model) for metric in METRICS)
        print(f"{model:24}{told:>12}" + "".join(f"{'-' if v is None else f'{v:.3f}':>28}" for v in cells))
    places: dict[str, list[float]] = {model: [] for model in levels}
    for metric, values in by_metric.items():
        known = {model: value for model, value in values.items() if value is not None and model in levels}
        if metric not in READS_ACTIONS:
            known.pop("baseline:wrong-actions", None)
        for model, own in known.items():
            places[model].append(sum(value > own for value in known.values()) / len(known))
        found, pairs = tau(known, levels, unsure)
        print(f"{metric}: Kendall's tau {found:+.2f} over {pairs} pairs of {len(known)} models")
    whole = {model: -float(np.mean(own)) for model, own in places.items() if own}
    found, pairs = tau(whole, levels, unsure)
    print(f"all together (mean place): Kendall's tau {found:+.2f} over {pairs} pairs of {len(whole)} models")
    for pair in unsure:
        print(f"left out: {' and '.join(sorted(pair))}, whose exactness does not differ by two standard errors")


if __name__ == "__main__":
    main()
