"""Do the stated intervals cover, and are winners claimed only where there are any?

Models of known quality are simulated: the score of a clip is a shape (normal; bounded and skewed like most quality
scores; long-tailed like most errors) of quality + prompt + model in this prompt + clip, normal numbers each. Prompts
are shared between models. What is tried are the functions that reports and leaderboards call.

    python benchmarks/stats_coverage.py            # 2,000 repetitions, a few CPU-minutes
    python benchmarks/stats_coverage.py --quick    # not for publishing

Prints Markdown; a coverage outside 93 to 97 % is marked `miss`, false claims in more than 5 % are marked too. With
2,000 repetitions the standard error of either is 0.5 points.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from vidbench.stats import (
    Criterion,
    Sample,
    allowed_ranks,
    certain_wins,
    cluster_interval,
    differences,
    overall,
    paired_difference,
    sample_spread,
)

Floats = NDArray[np.float64]
PROMPT, CROSSED = 0.4, 0.2
"""Shares of a clip score's variance that all models share in a prompt, and that a model has to itself there; the rest
is the clip's own."""
SIZES = ((6, 1), (8, 1), (12, 1), (30, 1), (100, 1), (6, 4), (8, 4), (12, 4), (30, 4))
"""Prompts and clips a prompt."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How standard normal numbers become scores."""

    name: str
    transform: Callable[[Floats], Floats]

    def mean(self, quality: float) -> float:
        """True mean of a model's scores."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(160)
        return float(np.sum(weights * self.transform(nodes + quality)) / np.sum(weights))

    def median(self, quality: float) -> float:
        """True median of a model's scores."""
        return float(self.transform(np.array([quality]))[0])


SHAPES = (
    Shape("normal", lambda z: z),
    Shape("bounded", lambda z: 1 / (1 + np.exp(-(2.0 + 1.2 * z)))),
    Shape("long tail", lambda z: np.exp(0.8 * z)),
)


def latent(rng: np.random.Generator, qualities: Sequence[float], prompts: int, takes: int) -> Floats:
    """(models, prompts, takes) normal numbers with variance 1 around each model's quality."""
    shape = (len(qualities), prompts, takes)
    return np.asarray(
        np.asarray(qualities)[:, None, None]
        + np.sqrt(PROMPT) * rng.standard_normal((1, prompts, 1))
        + np.sqrt(CROSSED) * rng.standard_normal((len(qualities), prompts, 1))
        + np.sqrt(1 - PROMPT - CROSSED) * rng.standard_normal(shape)
    )


def covered(low: float | None, high: float | None, truth: float) -> bool | None:
    """Whether an interval holds the truth; None where there is no interval."""
    return None if low is None or high is None else low <= truth <= high


def row(what: str, size: tuple[int, int], results: Sequence[bool | None]) -> str:
    """A line of a coverage table."""
    known = [r for r in results if r is not None]
    share = sum(known) / max(1, len(known))
    verdict = "" if 0.93 <= share <= 0.97 else "miss: narrow" if share < 0.93 else "miss: wide"
    none = f"{len(results) - len(known)} without" if len(known) < len(results) else ""
    return f"| {what} | {size[0]} | {size[1]} | {share:.1%} | {verdict} | {none} |"


def at_most_5(hits: int, of: int) -> str:
    """Whether a share of false claims is at most 5 %, as far as the repetitions can tell."""
    if hits <= 0.05 * of:
        return ""
    return "above, within 2 standard errors" if hits / of <= 0.05 + 2 * (0.05 * 0.95 / of) ** 0.5 else "miss"


def coverage_of_values(repetitions: int, rng: np.random.Generator) -> list[str]:
    """Intervals of one model's mean, median and rate."""
    lines = []
    for size in SIZES:
        labels = np.repeat(np.arange(size[0]), size[1]).tolist()
        for how in ("mean", "median"):
            for shape in SHAPES:
                truth = shape.mean(0.0) if how == "mean" else shape.median(0.0)
                results = []
                for _ in range(repetitions):
                    values = shape.transform(latent(rng, [0.0], *size)[0]).ravel()
                    interval = cluster_interval(values, labels, how, higher_is_better=True)
                    results.append(covered(interval.low, interval.high, truth))
                lines.append(row(f"{how}, {shape.name}", size, results))
        for rate in (0.1, 0.3, 0.5, None):
            results = []
            for _ in range(repetitions):
                truth = float(rng.uniform(0.05, 0.95)) if rate is None else rate
                hits = (latent(rng, [0.0], *size)[0].ravel() < scipy.stats.norm.ppf(truth)).astype(np.float64)
                interval = cluster_interval(hits, labels, "rate", higher_is_better=True)
                results.append(covered(interval.low, interval.high, truth))
            lines.append(row(f"rate, {'5 to 95 %' if rate is None else f'{rate:.0%}'}", size, results))
    return lines


def coverage_of_differences(repetitions: int, rng: np.random.Generator) -> list[str]:
    """Intervals of the paired difference of two models of unlike quality."""
    lines = []
    for size in SIZES:
        labels = np.repeat(np.arange(size[0]), size[1]).tolist()
        for how in ("mean", "median"):
            for shape in SHAPES:
                true = shape.mean if how == "mean" else shape.median
                truth = true(0.3) - true(0.0)
                results = []
                for _ in range(repetitions):
                    a, b = shape.transform(latent(rng, [0.3, 0.0], *size)).reshape(2, -1)
                    found = paired_difference(a, b, labels, how)
                    results.append(covered(found.low, found.high, truth))
                lines.append(row(f"{how}, {shape.name}", size, results))
        results = []
        for _ in range(repetitions):
            rates = rng.uniform(0.05, 0.95, 2)
            hits = latent(rng, [0.0, 0.0], *size).reshape(2, -1) < scipy.stats.norm.ppf(rates)[:, None]
            found = paired_difference(hits[0].astype(np.float64), hits[1].astype(np.float64), labels, "rate")
            results.append(covered(found.low, found.high, rates[0] - rates[1]))
        lines.append(row("rate, 5 to 95 %", size, results))
    return lines


def false_winners(repetitions: int, rng: np.random.Generator) -> list[str]:
    """Boards of one metric without a true difference: how often any is claimed, and how often a strict winner."""
    lines = []
    for how, shape in (("mean", SHAPES[0]), ("mean", SHAPES[2]), ("median", SHAPES[1]), ("rate", SHAPES[0])):
        for models, prompts in ((2, 8), (2, 12), (2, 50), (5, 12), (5, 50)):
            names = [f"m{i}" for i in range(models)]
            labels = list(range(prompts))
            anything = winners = 0
            for _ in range(repetitions):
                scores = shape.transform(latent(rng, [0.0] * models, prompts, 1)).reshape(models, -1)
                if how == "rate":
                    scores = (scores < -0.5).astype(np.float64)
                samples = {name: Sample(values, labels) for name, values in zip(names, scores, strict=True)}
                wins = certain_wins(differences(samples, how), higher_is_better=True)
                anything += bool(wins)
                winners += any(span == (1, 1) for span in allowed_ranks(names, wins).values())
            verdict = at_most_5(anything, repetitions)
            shares = f"{anything / repetitions:.1%} | {winners / repetitions:.1%}"
            lines.append(f"| {how}, {shape.name} | {models} | {prompts} | {shares} | {verdict} |")
    return lines


def power(repetitions: int, rng: np.random.Generator) -> list[str]:
    """How often the better of two models is found, by the number of prompts, and how that grows with pairing."""
    lines = []
    for prompts in (12, 25, 50, 100, 200, 400):
        shares = []
        for gap in (0.1, 0.2, 0.5, 1.0):
            for paired in (True, False):
                found = 0
                for _ in range(repetitions):
                    a, b = latent(rng, [gap, 0.0], prompts, 1).reshape(2, -1)
                    if not paired:
                        b = latent(rng, [0.0], prompts, 1).ravel()
                    labels = list(range(prompts))
                    others = labels if paired else [-1 - i for i in labels]
                    test = paired_difference(a, b, labels, "mean", other_clusters=others)
                    found += test.p is not None and test.p <= 0.05 and test.value > 0
                shares.append(found / repetitions)
        lines.append(f"| {prompts} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    return lines


def overall_claims(repetitions: int, rng: np.random.Generator) -> list[str]:
    """The ranking over several metrics: false claims, coverage of the mean rank, and power."""
    lines = []
    models, prompts, metrics = 4, 30, 6
    names = [f"m{i}" for i in range(models)]
    labels = list(range(prompts))
    for told, spacing in (("no difference", 0.0), ("0.2 apart", 0.2), ("0.5 apart", 0.5), ("1 apart", 1.0)):
        anything = winners = inside = 0
        for _ in range(repetitions):
            criteria = []
            for i in range(metrics):
                scores = latent(rng, [-spacing * m for m in range(models)], prompts, 1).reshape(models, -1)
                spreads = {n: sample_spread(Sample(v, labels), "mean") for n, v in zip(names, scores, strict=True)}
                criteria.append(Criterion(f"c{i}", higher_is_better=True, weight=1.0, spreads=spreads))
            found = overall(names, criteria, draws=2000, seed=int(rng.integers(2**31)))
            anything += bool(found.wins)
            winners += any((s.rank_low, s.rank_high) == (1, 1) for s in found.standings)
            by_name = {s.model: s for s in found.standings}
            truths = {n: (models + 1) / 2 if spacing == 0 else float(i + 1) for i, n in enumerate(names)}
            inside += sum(bool(covered(by_name[n].low, by_name[n].high, truths[n])) for n in names)
        share = inside / (models * repetitions)
        verdict = at_most_5(anything, repetitions) if spacing == 0 else "" if share >= 0.93 else "miss: narrow"
        lines.append(
            f"| {told} | {anything / repetitions:.1%} | {winners / repetitions:.1%} | {share:.1%} | {verdict} |"
        )
    return lines


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 repetitions: not for publishing")
    quick = parser.parse_args().quick
    repetitions = 100 if quick else 2000
    began = time.process_time()
    rng = np.random.default_rng(20261124)
    tables = [
        (
            f"Coverage of 95 % intervals of one model ({repetitions} repetitions)",
            "| of | prompts | clips a prompt | covered | | |\n|---|---|---|---|---|---|",
            coverage_of_values(repetitions, rng),
        ),
        (
            "Coverage of 95 % intervals of a paired difference",
            "| of | prompts | clips a prompt | covered | | |\n|---|---|---|---|---|---|",
            coverage_of_differences(repetitions, rng),
        ),
        (
            "No true difference: how often is one claimed?",
            "| metric | models | prompts | any claim | a strict winner | |\n|---|---|---|---|---|---|",
            false_winners(repetitions, rng),
        ),
        (
            "Power: the better of two is found, by its lead in standard deviations of a clip's score, paired / not",
            "| prompts | 0.1 paired | not | 0.2 paired | not | 0.5 paired | not | 1 paired | not |\n"
            "|---|---|---|---|---|---|---|---|---|",
            power(repetitions // 4, rng),
        ),
        (
            "Mean rank of 4 models over 6 metrics, 30 prompts",
            "| neighbours are | any claim | a strict winner | mean rank covered | |\n|---|---|---|---|---|",
            overall_claims(repetitions // 4, rng),
        ),
    ]
    for title, head, lines in tables:
        misses = sum("miss" in line for line in lines)
        held = "" if title.startswith("Power") else f": {len(lines) - misses} of {len(lines)} hold"
        print(f"\n## {title}{held}\n\n{head}")
        print("\n".join(lines))
    print(f"\n{time.process_time() - began:.0f} CPU-seconds{'; --quick is not for publishing' if quick else ''}")


if __name__ == "__main__":
    main()
