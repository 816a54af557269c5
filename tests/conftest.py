"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench_metrics.video_transformer import TransformerConfig

ROOT = Path(__file__).resolve().parent.parent
SMALL_VIDEOMAE = TransformerConfig(width=32, depth=2, heads=4, hidden=64, patch=14)
SMALL_VJEPA = TransformerConfig(width=32, depth=2, heads=4, hidden=64, patch=16)


def _shared_clips() -> Path:
    return Path(os.environ.get("VIDBENCH_TEST_CLIPS", ROOT.parent / "shared" / "clips"))


def _need(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.skip(f"real clips are not at {folder}; set VIDBENCH_TEST_CLIPS to a folder that holds them")
    return folder


@pytest.fixture(scope="session")
def fetv() -> Path:
    """60 generated and true clips of 5 sources, one folder a model, with metadata.csv."""
    return _need(_shared_clips() / "fetv")


@pytest.fixture(scope="session")
def real_clips() -> Path:
    """45 shots of real videos, flat, with metadata.csv."""
    return _need(_shared_clips() / "real")


@pytest.fixture(scope="session")
def i3d_state() -> dict[str, NDArray[np.float32]]:
    """Random tensors under the keys of the I3D checkpoint, of a size that lets signals through all 57 layers."""
    from vidbench_metrics.i3d_network import tensor_shapes

    rng = np.random.default_rng(7)
    state = {}
    for key, shape in tensor_shapes().items():
        if key.endswith("conv3d.weight"):
            value = rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        elif key.endswith("running_var"):
            value = rng.uniform(0.5, 2, shape).astype(np.float32)
        elif key.endswith("bn.weight"):
            value = np.ones(shape, np.float32)
        else:
            value = 0.1 * rng.standard_normal(shape, np.float32)
        state[key] = np.asarray(value, np.float32)
    return state


def _random_state(shapes: Mapping[str, tuple[int, ...]], seed: int = 7) -> dict[str, NDArray[np.float32]]:
    """Random tensors of these shapes, of sizes that let signals through networks of many layers."""
    rng = np.random.default_rng(seed)
    state = {}
    for key, shape in shapes.items():
        if len(shape) > 1:
            value = rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        elif key.endswith("running_var"):
            value = rng.uniform(0.5, 2, shape)
        elif key.endswith("weight"):
            value = np.ones(shape)
        else:
            value = 0.1 * rng.standard_normal(shape, np.float32)
        state[key] = np.asarray(value, np.float32)
    return state


@pytest.fixture(scope="session")
def random_state() -> Callable[..., dict[str, NDArray[np.float32]]]:
    """A maker of random tensors by the shapes of a network."""
    return _random_state


@pytest.fixture(scope="session")
def random_weights(i3d_state: dict[str, NDArray[np.float32]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder of random tensors: `i3d` and FID's Inception, and the transformers in the sizes of `small`."""
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[models]'")
    from vidbench import weights
    from vidbench_metrics import inception_network
    from vidbench_metrics import video_transformer as vt

    def prefixed(prefix: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
        return {prefix + key: value for key, value in _random_state(shapes).items()}

    folder = tmp_path_factory.mktemp("weights")
    source = folder / "random.pt"
    files: dict[str, tuple[str | None, dict[str, NDArray[np.float32]]]] = {
        "i3d": (None, i3d_state),
        inception_network.WEIGHTS: (None, _random_state(inception_network.tensor_shapes())),
        vt.VIDEOMAE: ("module", _random_state(vt.videomae_shapes(SMALL_VIDEOMAE))),
        vt.VJEPA: ("target_encoder", prefixed("module.backbone.", vt.vjepa_shapes(SMALL_VJEPA))),
        vt.PROBE: ("classifier", prefixed("module.", vt.probe_shapes(SMALL_VJEPA))),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDBENCH_WEIGHTS", str(folder))
        for name, (key, state) in files.items():
            tensors = {k: torch.from_numpy(value) for k, value in state.items()}
            torch.save(tensors if key is None else {key: tensors, "epoch": 1}, source)
            weights.import_file(weights.find(name), source, unpublished=True)
        source.unlink()
    return folder


def portable_tensors(
    shapes: Mapping[str, tuple[int, ...]], seed: int = 0, gain: float = 1.0
) -> dict[str, NDArray[np.float32]]:
    """Random tensors by key, the same on every machine, of a size that lets signals through a network.

    Args:
        shapes: key to shape.
        seed: of the numbers.
        gain: variance of a weight times the number of inputs it sums.
    """
    rng = np.random.default_rng(seed)
    state: dict[str, NDArray[np.float32]] = {}
    for key in sorted(shapes):
        shape = shapes[key]
        if "emb" in key.rsplit(".", 1)[-1] or key.endswith(("cls", "cls_token")):
            value = 0.5 * rng.standard_normal(shape, np.float32)
        elif key.endswith("running_var"):
            value = rng.uniform(0.5, 2, shape).astype(np.float32)
        elif key.endswith("weight") and len(shape) == 1:
            value = rng.uniform(0.2, 1.2, shape).astype(np.float32)
        elif key.endswith("weight"):
            value = rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(gain / np.prod(shape[1:])))
        else:
            value = 0.1 * rng.standard_normal(shape, np.float32)
        state[key] = np.asarray(value, np.float32)
    return state


VBENCH_GAINS = {
    "dino-vit-b-16": 1.0,
    "musiq-spaq": 1.5,
    "raft": 0.5,
    "raft-torchvision": 0.5,
    "amt-s": 0.6,
    "pips2": 0.5,
    "viclip-l-14": 1.0,
}
"""Gains of `portable_tensors` that keep each network's output off its limits."""


def small_pips2() -> Any:
    """PIPs++ in the sizes of tests."""
    from vidbench_metrics.networks.pips2 import Pips2Size

    return Pips2Size(encoder=(8, 8, 8, 8), features=8, filters=8, blocks=4)


def small_viclip() -> Any:
    """ViCLIP in the sizes of tests."""
    from vidbench_metrics.networks.viclip import ViClipSize

    return ViClipSize(side=56, width=48, depth=2, heads=4, text_width=32, text_depth=2, text_heads=2, embedding=24)


@pytest.fixture
def small_vbench_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """DINO, MUSIQ, PIPs++ and ViCLIP as narrow as in `vbench_weights`; AMT-S and RAFT are small enough as they are."""
    from vidbench_metrics.extractors import pips2_tracks
    from vidbench_metrics.networks import dino, musiq, pips2, viclip

    monkeypatch.setattr(dino, "VIT_B_16", dino.DinoSize(width=64, depth=2, heads=2))
    monkeypatch.setattr(musiq, "PUBLISHED", musiq.MusiqSize(width=48, depth=2, heads=6, hidden=96))
    monkeypatch.setattr(pips2, "PUBLISHED", small_pips2())
    monkeypatch.setattr(pips2_tracks, "TURNS", 2)
    monkeypatch.setattr(viclip, "PUBLISHED", small_viclip())


@pytest.fixture(scope="session")
def vbench_weights(random_weights: Path) -> Path:
    """The folder of `random_weights`, in which VBench's networks too have random tensors, in the files' own layouts."""
    import zipfile

    import torch

    from vidbench import weights
    from vidbench_metrics.networks import amt, dino, musiq, pips2, raft, viclip

    def saved(name: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
        tensors = portable_tensors(shapes, gain=VBENCH_GAINS[name])
        return {key: torch.from_numpy(value) for key, value in tensors.items()}

    def path(name: str) -> Path:
        return random_weights / weights.find(name).file

    small = dino.tensor_shapes(dino.DinoSize(width=64, depth=2, heads=2))
    torch.save(saved("dino-vit-b-16", small), path("dino-vit-b-16"))
    small = musiq.tensor_shapes(musiq.MusiqSize(width=48, depth=2, heads=6, hidden=96))
    torch.save(saved("musiq-spaq", small), path("musiq-spaq"))
    torch.save({viclip.KEY: saved(viclip.ROW, viclip.tensor_shapes(small_viclip()))}, path(viclip.ROW))
    torch.save({pips2.KEY: saved("pips2", pips2.tensor_shapes(small_pips2()))}, path("pips2"))
    torch.save({"epoch": 1, "state_dict": saved("amt-s", amt.tensor_shapes()), "optim": {"state": {}}}, path("amt-s"))
    originals = {raft.original_name(key): shape for key, shape in raft.tensor_shapes().items()}
    theirs = saved("raft", originals)
    for key in list(theirs):  # what stands in the authors' file twice
        if key.startswith("cnet") and ".downsample.1." in key:
            theirs[key.replace("downsample.1", "norm3")] = theirs[key]
    source = random_weights / "raft-things.pth"
    # Their file is of 2020: a pickle, not a zip.
    torch.save({f"module.{k}": v for k, v in theirs.items()}, source, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(path("raft"), "w") as archive:
        archive.write(source, raft.MEMBER)
    torch.save({key: theirs[raft.original_name(key)] for key in raft.tensor_shapes()}, path("raft-torchvision"))
    return random_weights


@pytest.fixture(scope="session")
def tiny_clip() -> Callable[[str], dict[str, Any]]:
    """A small architecture in open_clip's words for each model that OpenAI published, by open_clip's name."""

    def config(model: str) -> dict[str, Any]:
        return {
            "embed_dim": 768 if model.startswith("ViT-L") else 64,
            "vision_cfg": {"image_size": 64, "layers": 2, "width": 128, "patch_size": 16},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
            "preprocess_cfg": {},
        }

    return config


@pytest.fixture(scope="session")
def clip_state() -> Callable[..., dict[str, Any]]:
    """A maker of random tensors under the keys of a CLIP of open_clip, of a size that lets signals through."""

    def make(config: dict[str, Any], seed: int = 0) -> dict[str, Any]:
        import torch
        from open_clip.model import CLIP

        with torch.device("meta"):
            network = CLIP(config["embed_dim"], config["vision_cfg"], config["text_cfg"], quick_gelu=True)
        rng = np.random.default_rng(seed)
        state = {}
        for key, value in network.state_dict().items():
            noise = np.asarray(rng.standard_normal(tuple(value.shape)), np.float32)
            if "ln_" in key or key.endswith("bias") or noise.ndim < 2 or key == "visual.class_embedding":
                noise = 0.1 * noise + float("ln_" in key and key.endswith("weight"))
            elif "embedding" not in key:
                fan_in = noise.shape[0] if key in ("visual.proj", "text_projection") else np.prod(noise.shape[1:])
                noise = noise / np.sqrt(float(fan_in))
            state[key] = torch.from_numpy(np.asarray(noise, np.float32)).half().float()  # as half precision keeps it
        return state

    return make


@pytest.fixture(scope="session")
def clip_weights(
    random_weights: Path, tiny_clip: Callable[[str], dict[str, Any]], clip_state: Callable[..., dict[str, Any]]
) -> Path:
    """The same weights folder with small random CLIPs and a random aesthetic predictor, imported as unpublished files.

    They are read where `vidbench_metrics.clip_model.model_config` is replaced by `tiny_clip`.
    """
    pytest.importorskip("open_clip", reason="open_clip is not installed: pip install 'vidbench[models]'")
    import torch

    from vidbench import weights
    from vidbench_metrics.clip_model import OPENAI

    head = {"weight": torch.linspace(-1, 1, 768)[None], "bias": torch.tensor([5.0])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDBENCH_WEIGHTS", str(random_weights))
        for name, state in [
            *((row, clip_state(tiny_clip(model))) for model, row in OPENAI.items()),
            ("laion-aesthetic", head),
        ]:
            source = random_weights / "source.pt"
            torch.save(
                {key: value.half() for key, value in state.items()} if name != "laion-aesthetic" else state, source
            )
            weights.import_file(weights.find(name), source, unpublished=True)
            source.unlink()
    return random_weights


@pytest.fixture
def small_transformers(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The random weights, with networks of their size: the published ones would take gigabytes."""
    from vidbench_metrics import video_transformer

    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(random_weights))
    monkeypatch.setattr(video_transformer, "VIDEOMAE_GIANT", SMALL_VIDEOMAE)
    monkeypatch.setattr(video_transformer, "VJEPA_HUGE", SMALL_VJEPA)


@pytest.fixture
def moving_square() -> Callable[..., NDArray[np.uint8]]:
    """A maker of small clips: a bright square that moves right over a smooth textured background."""

    def make(
        frames: int = 16, height: int = 64, width: int = 80, *, seed: int = 0, speed: float = 2.0
    ) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:height, 0:width]
        waves = sum(
            np.sin(rng.uniform(0.05, 0.3) * x + rng.uniform(0.05, 0.3) * y + rng.uniform(0, 6)) for _ in range(4)
        )
        background = 110 + 20 * np.asarray(waves)[..., None] * rng.uniform(0.5, 1.0, 3)
        clip = np.repeat(background[None], frames, axis=0)
        side = max(4, height // 5)
        top = height // 2
        for t in range(frames):
            left = round(4 + speed * t) % max(1, width - side)
            clip[t, top : top + side, left : left + side] = (230, 60, 40)
        return np.clip(clip, 0, 255).astype(np.uint8)

    return make


@pytest.fixture
def vidbench() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line as a user does, in a process of its own."""

    def run(*args: object, cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "vidbench", *map(str, args)],
            capture_output=True,
            text=True,
            cwd=cwd,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def small_folder(tmp_path: Path, moving_square: Callable[..., NDArray[np.uint8]]) -> Path:
    """Five small clips of two models, with prompts."""
    from vidbench.video import encode_h264

    folder = tmp_path / "clips"
    lines = ["file_name,prompt"]
    for number in range(5):
        name = f"{'ab'[number % 2]}/{number}.mp4"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        encode_h264(folder / name, moving_square(10, 48, 64, seed=number), 8.0)
        lines.append(f"{name},prompt {number // 2}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def install_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Installs a package made of source text, as pip leaves one: a module and a dist-info with entry points.

    It is seen by this process and by those it starts.
    """
    from vidbench import plugins

    modules: list[str] = []

    def add(distribution: str, source: str, entries: str) -> None:
        site = tmp_path / "site" / distribution
        site.mkdir(parents=True)
        module = distribution.replace("-", "_")
        modules.append(module)
        (site / f"{module}.py").write_text(source, encoding="utf-8")
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(entries, encoding="utf-8")
        monkeypatch.syspath_prepend(str(site))
        known = os.environ.get("PYTHONPATH")
        monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{known}" if known else str(site))
        plugins.forget()

    yield add
    plugins.forget()
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's own cache."""
    monkeypatch.setenv("VIDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def gate_run() -> Callable[..., Any]:
    """A maker of runs for the gate, from nothing but scores: `scores` by metric, a value a clip, None for unscored.

    `findings` are (clip's number, metric, kind, confidence); `names` replace the clips' names; `facts` change the facts
    of metrics; `failed` are further files that cannot be read. With `save` the run folder is written too.
    """
    import hashlib
    import json

    from vidbench.results import ClipRow, FindingRow, MetricFacts, Run, RunInfo, ScoreRow, to_json
    from vidbench.summary import summarise

    def make(
        path: Path,
        scores: Mapping[str, list[float | None]],
        *,
        model: str = "ours",
        names: list[str] | None = None,
        prompts: list[str] | None = None,
        findings: list[tuple[int, str, str, float | None]] | None = None,
        failed: Mapping[str, str] | None = None,
        facts: Mapping[str, Mapping[str, Any]] | None = None,
        complete: bool = True,
        save: bool = False,
        **info: Any,
    ) -> Run:
        metrics = tuple(
            MetricFacts(
                **{
                    "name": name,
                    "version": "1",
                    "summary": "s",
                    "reference": "r",
                    "protocol": "p",
                    "higher_is_better": True,
                    "unit": "1",
                    "value_range": (None, None),
                    "granularity": "clip",
                    "aggregation": "mean",
                    "diagnostic": False,
                    "parameters": {},
                    "extractors": ("e-1",),
                    "weights": {},
                    **(facts or {}).get(name, {}),
                }
            )
            for name in scores
        )
        clips = names or [f"{model}/{i}.mp4" for i in range(len(next(iter(scores.values()))))]
        rows = [
            ClipRow(
                clip,
                model,
                "scored",
                sha256=hashlib.sha256(clip.encode("utf-8", "surrogatepass")).hexdigest(),
                frames=24,
                fps=12.0,
                prompt=prompts[i] if prompts else None,
            )
            for i, clip in enumerate(clips)
        ]
        rows += [ClipRow(name, model, "failed", reason) for name, reason in (failed or {}).items()]
        scored = [
            ScoreRow(model, clip, name, value, None if value is not None else "not judged: too dark")
            for name, values in scores.items()
            for clip, value in zip(clips, values, strict=True)
        ]
        scored += [
            ScoreRow(model, name, m, None, f"clip failed: {why}")
            for name, why in (failed or {}).items()
            for m in scores
        ]
        found = tuple(
            FindingRow(
                model,
                clips[i],
                metric,
                kind,
                3,
                7,
                0.25,
                7 / 12,
                f"Something does a {kind}.",
                confidence,
                "Lamps look so.",
            )
            for i, metric, kind, confidence in findings or []
        )
        run_info = RunInfo(
            **{
                "schema_version": 1,
                "vidbench": "0.1.0",
                "command": "vidbench run CLIPS",
                "created": "2026-01-01T00:00:00+00:00",
                "complete": complete,
                "folder": "CLIPS",
                "reference": None,
                "suite": None,
                "suite_hash": None,
                "settings_hash": "0123456789abcdef",
                "metrics": metrics,
                "left_out": (),
                "plugin_failures": (),
                "seed": 0,
                "platform": {},
                **info,
            }
        )
        summary = summarise(rows, scored, metrics) if complete else None
        run = Run(path, run_info, tuple(rows), tuple(scored), found, summary)
        if save:
            path.mkdir(parents=True)
            (path / "run.json").write_text(json.dumps(to_json(run_info)))
            for file, lines in (("clips", rows), ("scores", scored), ("findings", found)):
                text = "".join(json.dumps(to_json(line)) + "\n" for line in lines)
                (path / f"{file}.jsonl").write_text(text)
            if summary is not None:
                (path / "summary.json").write_text(json.dumps(to_json(summary)))
        return run

    return make
