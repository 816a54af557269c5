"""A leaderboard of 20 models and 500 clips each: what it costs, how large its page is, how fast the page sorts.

Run folders are generated (one a model, 12 metrics, 500 prompts, shared), the command is run as a user runs it, and the
page is opened in the installed Chromium.

    python benchmarks/leaderboard_scale.py
    python benchmarks/leaderboard_scale.py --models 5 --clips 100 --quick

The time of a sort is from the press of a header to the end of the layout that follows, the slowest of all columns.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from vidbench.files import json_line, write_json
from vidbench.results import ClipRow, MetricFacts, RunInfo, ScoreRow, to_json
from vidbench.summary import summarise

METRICS = 10
SETS = 2
SORT = """
const times = [];
for (const button of document.querySelectorAll(".ranked thead button.sort")) {
  const began = performance.now();
  button.click();
  document.body.getBoundingClientRect();  // the layout is part of the answer
  times.push(performance.now() - began);
}
return times;
"""
PAINTED = """
const done = arguments[arguments.length - 1];
const buttons = [...document.querySelectorAll(".ranked thead button.sort")];
const times = [];
const next = () => {
  const button = buttons.shift();
  if (button === undefined) return done(times);
  const began = performance.now();
  button.click();
  requestAnimationFrame(() => requestAnimationFrame(() => { times.push(performance.now() - began); next(); }));
};
next();
"""


def facts(i: int) -> MetricFacts:
    """A metric; the last ones are of sets."""
    of_sets = i >= METRICS
    return MetricFacts(
        name=f"metric_{i:02d}_{'distance' if of_sets else 'score'}",
        version="1",
        summary="made up for measuring",
        reference="none",
        protocol="none",
        higher_is_better=not of_sets,
        unit="1",
        value_range=(0.0, None if of_sets else 1.0),
        granularity="set" if of_sets else "clip",
        aggregation="set" if of_sets else ("median" if i == METRICS - 1 else "rate" if i == METRICS - 2 else "mean"),
        diagnostic=False,
        parameters={},
        extractors=("made_up-1-00",),
        weights={},
    )


def write_run(folder: Path, model: str, level: float, clips: int, rng: np.random.Generator) -> None:
    """A run of one model, as the engine leaves it."""
    folder.mkdir(parents=True)
    all_facts = tuple(facts(i) for i in range(METRICS + SETS))
    rows, scores = [], []
    for i in range(clips):
        clip = f"{model}/{i:04d}.mp4"
        rows.append(
            ClipRow(clip, model, "scored", sha256=f"{rng.integers(2**62):064x}", frames=49, fps=8.0, width=512,
                    height=320, prompt=f"prompt number {i} about something of usual length, {i * 7919 % 1000} of one",
                    media=f"{rng.integers(2**62):020x}")
        )  # fmt: skip
        for f in all_facts[:METRICS]:
            value = float(np.clip(level + rng.normal(0, 0.1), 0, 1))
            scores.append(ScoreRow(model, clip, f.name, float(value > 0.6) if f.aggregation == "rate" else value))
    for f in all_facts[METRICS:]:
        details = {"clips": clips, "low": 9 - level * 5, "high": 11 - level * 5, "interval": "jackknife",
                   "left_out": [10 - level * 5 + float(d) for d in rng.normal(0, 0.1, 10)]}  # fmt: skip
        scores.append(ScoreRow(model, None, f.name, 10 - level * 5, None, details))
    info = RunInfo(
        schema_version=1, vidbench="0", command="made up", created="2026-01-01T00:00:00+00:00", complete=True,
        folder="made up", reference=None, suite=None, suite_hash=None, settings_hash="00", metrics=all_facts,
        left_out=(), plugin_failures=(), seed=0, platform={},
    )  # fmt: skip
    write_json(folder / "run.json", to_json(info))
    write_json(folder / "summary.json", to_json(summarise(rows, scores, all_facts)))
    for name, lines in (("clips.jsonl", rows), ("scores.jsonl", scores)):
        (folder / name).write_text("".join(json_line(to_json(line)) for line in lines), encoding="utf-8")
    # Previews need not play for this: the page looks only whether they are there.
    (folder / "media").mkdir()
    for row in rows:
        (folder / "media" / f"{row.media}.mp4").touch()


def measure_page(page: Path) -> dict[str, Any]:
    """Milliseconds of sorts and of the load in Chromium."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or "chromedriver"))
    try:
        driver.get(page.as_uri())
        load = driver.execute_script(
            "const n = performance.getEntriesByType('navigation')[0]; return n.domComplete - n.startTime"
        )
        driver.execute_script(SORT)  # warm
        return {
            "load": load,
            "sorts": [t for _ in range(3) for t in driver.execute_script(SORT)],
            "painted": driver.execute_async_script(PAINTED),
            "rows": driver.execute_script("return document.querySelectorAll('.ranked tbody tr').length"),
        }
    finally:
        driver.quit()


def main() -> None:
    """Make the runs, build the board, measure the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--quick", action="store_true", help="said in the output: not for publishing")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i in range(options.models):
            write_run(folder / "runs" / f"run-{i:02d}", f"model-{i:02d}", 0.4 + 0.02 * i, options.clips, rng)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [
            sys.executable,
            "-m",
            "vidbench",
            "leaderboard",
            str(folder / "runs"),
            "--out",
            str(folder / "board"),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        page = folder / "board" / "leaderboard.html"
        size = page.stat().st_size / 1e6
        measured = measure_page(page)
    print(f"{options.models} models x {options.clips} clips x {METRICS + SETS} metrics in {options.models} runs")
    print(f"build: {spent:.1f} CPU-seconds ({'holds' if spent < 20 else 'miss'}: under 20)")
    print(f"peak memory: {after.ru_maxrss / 1024:.0f} MB")
    print(f"page: {size:.2f} MB without clips ({'holds' if size < 3 else 'miss'}: under 3)")
    print(f"loaded in {measured['load']:.0f} ms")
    worst, usual = max(measured["sorts"]), statistics.median(measured["sorts"])
    print(
        f"sort of {measured['rows']} rows with layout: {usual:.0f} ms in the median, {worst:.0f} ms at worst of "
        f"{len(measured['sorts'])} ({'holds' if worst < 200 else 'miss'}: under 200)"
    )
    print(f"sort until the second frame after it: {max(measured['painted']):.0f} ms at worst")
    if options.quick:
        print("--quick: not for publishing")


if __name__ == "__main__":
    main()
