"""A run as the engine would leave it, for every report: 5 models, 12 prompts, findings, failures and nasty names."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.results import (
    ClipRow,
    FindingRow,
    LeftOut,
    MetricFacts,
    Run,
    RunInfo,
    ScoreRow,
)
from vidbench.summary import summarise

MODELS = ("cogvideo", "ground-truth", "modelscope", "text2video-zero", "zeroscope")
NASTY = {
    1: "<script>alert(1)</script><img src=x onerror=alert(2)>",
    2: "\"quotes\" & 'apostrophes' | pipes `ticks` </script><!--",
    3: "fireworks 🎆 over the bay\nand a second line\u2028and a third",
    4: "كلب يجري على الشاطئ",
    5: "a very long prompt " * 40,
    6: '=HYPERLINK("http://example.invalid")',
}
PROMPTS = tuple(
    NASTY.get(i, prompt)
    for i, prompt in enumerate(
        (
            "people are dancing",
            *("",) * 6,
            "rabbits are running around",
            "a girl is singing",
            "three boys are eating burger",
            "two young girls playing with a horse",
            "man in red shirt does a wheely on his motorcycle",
        )
    )
)
FRAMES, FPS, SIZE = 16, 8.0, 256
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--proxy-server=http://127.0.0.1:9",
    "--window-size=1280,900",
)


def _facts(name: str, **given: object) -> MetricFacts:
    values: dict[str, object] = {
        "version": "1",
        "summary": "how little neighbouring frames differ; it can't tell flicker from motion: a frozen clip scores 1",
        "reference": "Huang et al., VBench, CVPR 2024 (arXiv 2311.17982)",
        "protocol": f"{name} 1: every frame at its own size",
        "higher_is_better": False,
        "unit": "share of frames",
        "value_range": (0.0, 1.0),
        "granularity": "clip",
        "aggregation": "mean",
        "diagnostic": False,
        "parameters": {},
        "extractors": ("frame_statistics-1-8c4f0cc2ab1d9e77",),
        "weights": {},
        "distribution": "vidbench 0.1.0",
    }
    return MetricFacts(name=name, **{**values, **given})  # type: ignore[arg-type]


METRICS = (
    _facts("temporal_flickering", higher_is_better=True, unit="1", protocol="vbench"),
    _facts("frozen_frames", parameters={"min_run": 2, "limit": 0.35}),
    _facts("black_frames"),
    _facts("shot_cuts", unit="share of clips", aggregation="rate"),
    _facts(
        "frechet_frame_distance",
        unit="1",
        value_range=(0.0, None),
        granularity="set",
        aggregation="set",
        summary="distance of the distributions of frame features; it sees no motion, and it is not FVD",
        extractors=("efficientnet_lite0-1-0f3a9d2c4b5e6f70",),
        weights={"efficientnet_lite0": "sha256:4c1ee2e6b8dc5ba6d2b9a1d0a2f9d40f3a9cbb3f58ee9e8b0a9f8fa1f3c0bb21"},
    ),
    _facts("psnr", higher_is_better=True, unit="dB", value_range=(0.0, None), granularity="pair"),
    _facts("sharpness", higher_is_better=True, unit="grey levels squared", value_range=(0.0, None), diagnostic=True),
    _facts("exposure", higher_is_better=True, unit="share of pixels", diagnostic=True),
    _facts(
        "motion_magnitude",
        higher_is_better=True,
        unit="% of the frame diagonal per second",
        value_range=(0.0, None),
        diagnostic=True,
    ),
)
LEVEL = {
    "temporal_flickering": (0.93, 0.96, 0.955, 0.905, 0.957),
    "frozen_frames": (0.08, 0.01, 0.015, 0.02, 0.06),
    "black_frames": (0.0, 0.0, 0.0, 0.0, 0.0),
    "shot_cuts": (0.1, 0.1, 0.2, 0.7, 0.1),
    "frechet_frame_distance": (88.2, 0.0, 61.4, 104.9, 58.8),
    "sharpness": (410.0, 690.0, 380.0, 820.0, 240.0),
    "exposure": (0.96, 0.985, 0.97, 0.93, 0.975),
    "motion_magnitude": (13.0, 21.0, 17.0, 38.0, 11.0),
}
SPREAD = {"temporal_flickering": 0.015, "frozen_frames": 0.03, "exposure": 0.02}


def _resized(frame: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _synthetic(seed: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    base = _resized(rng.integers(40, 200, (4, 4, 3), dtype=np.uint8), SIZE)
    frames = [base.copy() for _ in range(FRAMES)]
    for t, frame in enumerate(frames):
        frame[100:150, 20 + 10 * t : 60 + 10 * t] = (230, 70, 40)
    return frames


def _decoded(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False) for frame in container.decode(video=0)]


def _write_media(folder: Path, stem: str, frames: list[NDArray[np.uint8]]) -> tuple[int, ...]:
    """A filmstrip and a preview, as the engine makes them; returns the frames on the strip."""
    folder.mkdir(exist_ok=True)
    chosen = np.unique(np.linspace(0, len(frames) - 1, 8).round().astype(int))
    strip = np.concatenate([_resized(frames[i], 96) for i in chosen], axis=1)
    cv2.imwrite(str(folder / f"{stem}.jpg"), cv2.cvtColor(strip, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
    with av.open(str(folder / f"{stem}.mp4"), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=int(FPS), options={"crf": "27", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 240, 240, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_resized(frame, 240), format="rgb24")))
        container.mux(stream.encode())
    return tuple(int(i) for i in chosen)


def _info(metrics: tuple[MetricFacts, ...]) -> RunInfo:
    return RunInfo(
        schema_version=1,
        vidbench="0.1.0",
        command="vidbench run clips/fetv --reference clips/fetv/ground-truth --out runs/fetv",
        created="2026-08-03T14:05:09+00:00",
        complete=True,
        folder="clips/fetv",
        reference="clips/fetv/ground-truth",
        suite=None,
        suite_hash=None,
        settings_hash="9d5be37c2a7f4b10c1a2f6f5f0a90d3bce6b1d57f7b2de93e4f1de0db5d3a7c4",
        metrics=metrics,
        left_out=(
            LeftOut("ssim", "needs each clip's true clip: add a 'reference' column to metadata.csv"),
            LeftOut("clip_similarity", "open_clip not installed: pip install 'vidbench[models]'"),
        ),
        plugin_failures=("vidbench.metrics 'broken' from other-package 1.0: ImportError: <no> module & more",),
        seed=0,
        platform={"python": "3.11.9", "numpy": "2.1.0", "system": "Linux-6.1-x86_64"},
        settings={"pair_by_name": False, "fps": None, "max_frames": 100000},
        inputs={"metadata.csv": "f" * 64},
    )


def _scores(model: int, clip: str, rng: np.random.Generator) -> list[ScoreRow]:
    rows = []
    for facts in METRICS:
        if facts.granularity == "set":
            continue
        if facts.name == "psnr":
            rows.append(ScoreRow(MODELS[model], clip, "psnr", None, "has no reference clip"))
            continue
        level = LEVEL[facts.name][model]
        if facts.name == "shot_cuts":
            value = float(rng.random() < level)
        elif facts.name == "black_frames":
            value = 0.0
        else:
            spread = SPREAD.get(facts.name, 0.2 * level)
            value = float(max(0.0, level + spread * rng.standard_normal()))
            value = min(value, 1.0) if facts.value_range[1] == 1.0 else value
        if facts.name == "motion_magnitude" and clip.endswith("/03.mp4"):
            rows.append(ScoreRow(MODELS[model], clip, facts.name, None, "its frame rate is unknown"))
            continue
        rows.append(ScoreRow(MODELS[model], clip, facts.name, value, details={"frames": FRAMES, "worst": value / 3}))
    return rows


def _findings(model: str, clip: str, rng: np.random.Generator) -> list[FindingRow]:
    found = []
    for kind, metric in (("freeze", "frozen_frames"), ("jump_cut", "shot_cuts"), ("flicker", "temporal_flickering")):
        if rng.random() < (0.55 if model == "text2video-zero" else 0.2):
            start = int(rng.integers(1, FRAMES - 4))
            end = start + int(rng.integers(0, 4))
            boxes = tuple({"frame": f, "box": [40.0, 60.0, 170.0, 190.0]} for f in range(start, end + 1))
            found.append(
                FindingRow(
                    model,
                    clip,
                    metric,
                    kind,
                    start,
                    end,
                    start / FPS,
                    end / FPS,
                    message="the picture jumps here <b>at once</b>",
                    confidence=0.91 if kind == "jump_cut" else None,
                    limitation="whether it was meant",
                    boxes=boxes if kind == "flicker" else (),
                )
            )
    return found


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    """A maker of runs.

    `clips` a model; `media` how many clips get pictures, `frames` where they come from (a maker of synthetic clips
    unless given: it takes model and number).
    """

    def make(
        path: Path,
        *,
        clips: int = 12,
        media: int = 0,
        frames: Callable[[str, int], list[NDArray[np.uint8]]] | None = None,
    ) -> Run:
        rng = np.random.default_rng(7)
        path.mkdir(parents=True, exist_ok=True)
        rows: list[ClipRow] = []
        scores: list[ScoreRow] = []
        findings: list[FindingRow] = []
        for m, model in enumerate(MODELS):
            for i in range(clips):
                clip = f"{model}/{i:02d}.mp4"
                if i == 2:
                    clip = f'{model}/-it\'s a <b>"clip"</b> & | ünï 🎬\nnew.mp4'
                stem: str | None = None
                strip: tuple[int, ...] = ()
                if len(rows) < media:
                    stem = hashlib.sha256(clip.encode()).hexdigest()[:20]
                    strip = _write_media(path / "media", stem, frames(model, i) if frames else _synthetic(len(rows)))
                rows.append(
                    ClipRow(
                        clip,
                        model,
                        "scored",
                        sha256=hashlib.sha256(clip.encode()).hexdigest(),
                        frames=FRAMES,
                        fps=FPS,
                        width=SIZE,
                        height=SIZE,
                        duration=FRAMES / FPS,
                        prompt=PROMPTS[i % len(PROMPTS)],
                        seconds={"decode": 0.012, "frame_statistics": 0.031},
                        warnings=("the container promised 20 frames, 16 could be read",) if i == 7 and m == 2 else (),
                        media=stem,
                        strip_frames=strip,
                    )
                )
                scores += _scores(m, clip, rng)
                findings += _findings(model, clip, rng)
        for name, status, reason in (
            ("cogvideo/<script>alert(3)</script>.mp4", "failed", "moov atom not found: the file is cut off"),
            ("zeroscope/empty 'file'.mp4", "failed", "the file is empty (0 bytes)"),
            ("modelscope/\u202egnp.4pm", "failed", "has no video stream"),
        ):
            model = name.split("/", maxsplit=1)[0]
            rows.append(ClipRow(name, model, status, reason))  # type: ignore[arg-type]
            scores += [
                ScoreRow(model, name, facts.name, None, f"clip failed: {reason}")
                for facts in METRICS
                if facts.granularity != "set"
            ]
        rows += [ClipRow("ratings.csv", None, "skipped", "not a video, a folder of frames or an array")]
        for m, model in enumerate(MODELS):
            value = LEVEL["frechet_frame_distance"][m]
            total = sum(row.model == model and row.status == "scored" for row in rows)
            details: dict[str, object] = {"clips": total, "interval": "jackknife over 10 groups of prompts"}
            details |= {"low": value - 9.0, "high": value + 9.0}
            if model == "ground-truth":
                details = {
                    "clips": total,
                    "interval": "no interval: compared with its own clips",
                    "note": "all of its clips are in the reference set, so this value says nothing about it",
                }
            scores.append(ScoreRow(model, None, "frechet_frame_distance", value, details=details))
        rows.sort(key=lambda row: row.clip)
        scores.sort(key=lambda row: (row.model, row.clip or "", row.metric))
        return Run(
            path=path,
            info=_info(METRICS),
            clips=tuple(rows),
            scores=tuple(scores),
            findings=tuple(findings),
            summary=summarise(rows, scores, METRICS, warnings=("reference clip 9.mp4 failed: cut off",)),
        )

    return make


@pytest.fixture
def run(make_run: Callable[..., Run], tmp_path: Path) -> Run:
    """A finished run without pictures."""
    return make_run(tmp_path / "fetv <5 & more>")


@pytest.fixture
def unfinished(run: Run) -> Run:
    """A run that was killed."""
    return dataclasses.replace(run, info=dataclasses.replace(run.info, complete=False), summary=None)


@pytest.fixture(scope="session")
def real_frames(request: pytest.FixtureRequest) -> Callable[[str, int], list[NDArray[np.uint8]]]:
    """Frames of real generated clips, by model and number; of synthetic ones where the real ones are absent."""
    try:
        folder: Path = request.getfixturevalue("fetv")
    except pytest.skip.Exception:
        return lambda model, number: _synthetic(number)
    return lambda model, number: _decoded(sorted((folder / model).glob("*.mp4"))[number])[:FRAMES]


@pytest.fixture(scope="session")
def with_evidence() -> Callable[[Run], Run]:
    """Gives every finding of a run a picture, in its folder; the last finding says why it has none."""

    def give(run: Run) -> Run:
        (run.path / "evidence").mkdir(exist_ok=True)
        rows = []
        for number, finding in enumerate(run.findings[:-1]):
            name = f"evidence/{hashlib.sha256(finding.clip.encode()).hexdigest()[:20]}-{number}.jpg"
            picture = np.full((60, 300, 3), number % 256, dtype=np.uint8)
            (run.path / name).write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
            rows.append(dataclasses.replace(finding, evidence=name, evidence_frames=(finding.start, finding.end)))
        rows.append(dataclasses.replace(run.findings[-1], no_evidence="only 12 <b>findings</b> get a picture"))
        return dataclasses.replace(run, findings=tuple(rows))

    return give


@pytest.fixture(scope="session")
def new_driver(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """A maker of Chromium drivers, each with a profile of its own and without any network but this machine."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed: pip install 'vidbench[test]'"
    )
    from selenium.webdriver.chrome.service import Service

    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("pages are not tried in a browser: chromium and chromedriver are not both on the PATH")

    def make() -> Any:
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        return webdriver.Chrome(options=options, service=Service(driver))

    return make


@pytest.fixture(scope="session")
def write_board_run() -> Callable[..., Path]:
    """Writes a run folder for leaderboards: models of given quality over shared prompts, two metrics that judge."""
    from vidbench.files import json_line, write_json
    from vidbench.results import to_json

    quality = _facts("quality_score", higher_is_better=True, unit="1", summary="how good it is")
    error = _facts("some_error", unit="px", value_range=(0.0, None), summary="how wrong it is")
    distance = _facts("set_distance", unit="1", value_range=(0.0, None), granularity="set", aggregation="set")

    def write(
        path: Path,
        models: dict[str, float],
        *,
        prompts: tuple[str, ...] = tuple(f"prompt {i}" for i in range(10)),
        metrics: tuple[MetricFacts, ...] = (quality, error, distance),
        yardsticks: tuple[str, ...] = (),
        unscored: tuple[str, ...] = (),
        fps: float = FPS,
        media: tuple[str, ...] = (),
        seed: int = 0,
        **info: object,
    ) -> Path:
        (path / "media").mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        hard = np.random.default_rng(99).normal(0, 0.05, len(prompts))
        clips, scores = [], []
        for model, level in models.items():
            for i, prompt in enumerate(prompts):
                clip = f"{model}/{i}.mp4"
                stem = hashlib.sha256(f"{path.name}/{clip}".encode()).hexdigest()[:20] if model in media else None
                if stem is not None:
                    _write_media(path / "media", stem, _synthetic(i))
                origin = 0 if model in yardsticks else seed
                sha = hashlib.sha256(f"{origin} {level} {clip}".encode()).hexdigest()
                clips.append(ClipRow(clip, model, "scored", sha256=sha, prompt=prompt, fps=fps, media=stem))
                value = float(np.clip(level + hard[i] + rng.normal(0, 0.02), 0, 1))
                if clip in unscored:
                    scores.append(ScoreRow(model, clip, "quality_score", None, "too <b>short</b>"))
                else:
                    scores.append(ScoreRow(model, clip, "quality_score", value))
                scores.append(ScoreRow(model, clip, "some_error", 1.5 - value))
            spread = [10 * (1 - level) + float(d) for d in rng.normal(0, 0.02, 10)]
            far = 10 * (1 - level)
            details = {"clips": len(prompts), "left_out": spread, "low": far - 0.2, "high": far + 0.2}
            scores.append(ScoreRow(model, None, "set_distance", far, None, {**details, "interval": "jackknife"}))
        names = {facts.name for facts in metrics}
        scores = [score for score in scores if score.metric in names]
        summary = summarise(clips, scores, metrics, yardsticks=yardsticks)
        made = dataclasses.replace(_info(metrics), **info)  # type: ignore[arg-type]
        write_json(path / "run.json", to_json(made))
        write_json(path / "summary.json", to_json(summary))
        (path / "clips.jsonl").write_text("".join(json_line(to_json(row)) for row in clips), encoding="utf-8")
        (path / "scores.jsonl").write_text("".join(json_line(to_json(row)) for row in scores), encoding="utf-8")
        return path

    return write
