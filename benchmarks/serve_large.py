"""What `vidbench serve` costs with many clips: reading the run, and CPU-seconds of one page, sorted and filtered.

python benchmarks/serve_large.py --clips 10000
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np

from vidbench.results import load_run
from vidbench_reports.server import Server

METRICS = 16
QUESTIONS = {
    "first page": "",
    "sorted by a score": "column=5&direction=ascending",
    "sorted by prompt, page 50": "column=0&direction=ascending&page=50",
    "one model, searched": "model=1&text=prompt+12",
    "with findings of a kind": "kind=teleport&found=1",
}


def write_run(folder: Path, clips: int) -> None:
    """A complete run folder of made-up scores."""
    rng = np.random.default_rng(0)
    facts = [
        {
            "name": f"metric_{m}",
            "version": "1",
            "summary": "made up",
            "reference": "",
            "protocol": "",
            "higher_is_better": True,
            "unit": "1",
            "value_range": [0.0, 1.0],
            "granularity": "clip",
            "aggregation": "mean",
            "diagnostic": m > 5,
            "parameters": {},
            "extractors": [],
            "weights": {},
        }
        for m in range(METRICS)
    ]
    info = {
        "schema_version": 1,
        "vidbench": "0",
        "command": "",
        "created": "2026-01-01T00:00:00+00:00",
        "complete": True,
        "folder": "clips",
        "reference": None,
        "suite": None,
        "suite_hash": None,
        "settings_hash": "0",
        "metrics": facts,
        "left_out": [],
        "plugin_failures": [],
        "seed": 0,
        "platform": {},
    }
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    summary = {"models": [], "scores": [], "overall": [], "rule": ""}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with (
        (folder / "clips.jsonl").open("w", encoding="utf-8") as rows,
        (folder / "scores.jsonl").open("w", encoding="utf-8") as scores,
        (folder / "findings.jsonl").open("w", encoding="utf-8") as findings,
    ):
        for i in range(clips):
            model = f"model-{i % 4}"
            clip = f"{model}/{i // 4}.mp4"
            row = {"clip": clip, "model": model, "status": "scored", "frames": 48, "prompt": f"prompt {i // 4}"}
            rows.write(json.dumps(row) + "\n")
            for m, value in enumerate(rng.random(METRICS)):
                scores.write(json.dumps({"model": model, "clip": clip, "metric": f"metric_{m}", "value": value}) + "\n")
            if i % 20 == 0:
                found = {"model": model, "clip": clip, "metric": "metric_0", "kind": "teleport", "start": 1, "end": 2}
                found |= {"start_time": 0.1, "end_time": 0.2, "message": "made up", "confidence": 0.9}
                findings.write(json.dumps(found) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_run(folder, options.clips)
        began = time.process_time()
        run = load_run(folder)
        read = time.process_time()
        server = Server([run])
        ready = time.process_time()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"{options.clips} clips, {METRICS} metrics")
        print(f"reading the run: {read - began:.2f} CPU-s; the server's index: {ready - read:.2f} CPU-s")
        print(f"memory at its highest: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
        with urllib.request.urlopen(server.address) as answer:  # noqa: S310 - our own
            print(f"the page itself: {len(answer.read()) / 1024:.0f} kB")
        for what, question in QUESTIONS.items():
            address = f"{server.address}run/0/clips?{question}"
            began = time.process_time()
            for _ in range(options.repeats):
                with urllib.request.urlopen(address) as answer:  # noqa: S310 - our own
                    body = answer.read()
            # Asking costs a part of this too: client and server are one process.
            spent = (time.process_time() - began) / options.repeats
            total = json.loads(body)["total"]
            print(f"{what}: {1000 * spent:.1f} CPU-ms, {len(body) / 1024:.0f} kB, {total} clips match")
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
