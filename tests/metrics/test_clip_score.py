"""clip_score: each protocol's formula by hand, against open_clip and against torchmetrics; cut prompts; whole runs."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.clips import Clip, discover
from vidbench.errors import InputError
from vidbench.metric import Observations, Score
from vidbench.run.plan import select
from vidbench.testing import observations
from vidbench.video import ClipFacts
from vidbench_metrics import clip_score, clip_text
from vidbench_metrics.clip_model import ClipFile, ClipSource, text_tower
from vidbench_metrics.clip_score import PROTOCOLS, ClipScore, frame_scores, reduced
from vidbench_metrics.clip_text import PromptEmbedding, embed_prompt, tokens_of
from vidbench_metrics.extractors.clip_image import ClipImageObservation

needs_models = pytest.mark.skipif(
    importlib.util.find_spec("open_clip") is None, reason="open_clip is not installed: pip install 'vidbench[models]'"
)
Pixels = NDArray[np.uint8]
LONG = "a dog that runs over a meadow under a blue sky and barks at a cat on the fence " * 6


@pytest.fixture
def tiny(clip_weights: Path, tiny_clip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small random CLIPs in place of OpenAI's."""
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(clip_weights))
    monkeypatch.setattr("vidbench_metrics.clip_model.model_config", tiny_clip)


def clip(prompt: str | None) -> Clip:
    return Clip(id="clip", path=Path("clip"), model="m", prompt=prompt)


def scored(
    monkeypatch: pytest.MonkeyPatch,
    images: Any,
    text: Any,
    prompt: str | None = "a dog",
    tokens: int = 5,
    **values: Any,
) -> Score:
    """Score embeddings that are given, with a text tower that gives `text`."""
    rows = np.asarray(images, np.float32)
    seen = ClipImageObservation(rows, np.arange(len(rows)) * 2, 2 * len(rows), "")
    facts = ClipFacts(2 * len(rows), 8.0, 4, 4, np.arange(2 * len(rows)) / 8)
    made = PromptEmbedding(np.asarray(text, np.float32), tokens, 77)
    monkeypatch.setattr(clip_score, "embed_prompt", lambda *_, **__: made)
    return ClipScore.from_mapping(values).score(Observations({"clip_image": seen}, facts), clip(prompt))


IMAGES = [[3, 4], [0, 2], [-5, 0]]
"""Cosines with (1, 0): 0.6, 0 and -1; with (-2, 0) the negatives of them."""


@pytest.mark.parametrize(
    ("protocol", "text", "expected"),
    [
        ("hessel", [1, 0], 2.5 * (0.6 + 0 + 0) / 3),
        ("hessel", [-2, 0], 2.5 * (0 + 0 + 1) / 3),
        ("torchmetrics", [1, 0], 0.0),  # 100 * (0.6 - 1) / 3 is clamped only then
        ("torchmetrics", [-2, 0], 100 * (-0.6 + 0 + 1) / 3),
        ("evalcrafter", [1, 0], (0.6 + 0 - 1) / 3),
    ],
)
def test_each_protocols_formula_by_hand(
    monkeypatch: pytest.MonkeyPatch, protocol: str, text: list[float], expected: float
) -> None:
    result = scored(monkeypatch, IMAGES, text, protocol=protocol)
    assert result.value == pytest.approx(expected, abs=1e-7)


def test_the_curve_and_its_ends_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    result = scored(monkeypatch, IMAGES, [1, 0], protocol="evalcrafter")
    assert result.details["curve"] == pytest.approx([0.6, 0, -1])
    assert result.details["lowest"] == pytest.approx(-1)
    assert result.details["highest"] == pytest.approx(0.6)
    assert (result.details["lowest_frame"], result.details["highest_frame"]) == (4, 0)
    assert result.details["note"] is None
    assert result.details["remark"] is None


@pytest.mark.parametrize(
    ("how", "expected"),
    [("mean", 2.5), ("median", 2), ("min", 1), ("max", 5), ("first", 2), ("middle", 5), ("last", 2)],
)
def test_reductions(how: str, expected: float) -> None:
    assert reduced(np.array([2.0, 1.0, 5.0, 2.0]), how) == expected


def test_a_reduction_applies_to_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scored(monkeypatch, IMAGES, [1, 0], reduce="first").value == pytest.approx(1.5)
    assert scored(monkeypatch, IMAGES, [1, 0], reduce="min").value == 0.0
    assert scored(monkeypatch, IMAGES, [1, 0], reduce="min", protocol="evalcrafter").value == pytest.approx(-1)


def test_what_cannot_be_scored_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    for nothing in (None, "", "  "):
        assert scored(monkeypatch, IMAGES, [1, 0], nothing).reason == "it has no prompt"
    zero = scored(monkeypatch, [[0, 0]], [1, 0])
    assert zero.reason == "CLIP gives a zero or infinite embedding for a frame or for the prompt"


def test_each_protocol_asks_for_its_embeddings() -> None:
    asked = {
        name: dict(ClipScore.from_mapping({"protocol": name}).extractor_specs()[0].parameters) for name in PROTOCOLS
    }
    assert asked == {
        "hessel": {"model": "ViT-B-32", "weights": "openai", "preprocess": "official"},
        "torchmetrics": {"model": "ViT-L-14", "weights": "openai", "preprocess": "huggingface"},
        "evalcrafter": {"model": "ViT-B-32", "weights": "openai", "preprocess": "evalcrafter"},
    }
    (spec,) = ClipScore.from_mapping({"protocol": "torchmetrics", "model": "ViT-B-16"}).extractor_specs()
    assert spec.parameters["model"] == "ViT-B-16"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"protocol": "clip"}, "protocol must be one of hessel, torchmetrics"),
        ({"reduce": "sum"}, "reduce must be one of"),
        ({"protocol": "vbench-overall", "reduce": "max"}, "vbench-overall leaves no choice of reduce, model"),
    ],
)
def test_choices_that_make_no_sense_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ClipScore.from_mapping(values)


def test_range_and_words_are_those_of_the_protocol() -> None:
    ranges = {name: ClipScore.from_mapping({"protocol": name}).value_range for name in PROTOCOLS}
    assert ranges == {"hessel": (0, 2.5), "torchmetrics": (0, 100), "evalcrafter": (-1, 1)}
    assert ClipScore.value_range == (-1.0, 100.0)
    for name in (*PROTOCOLS, "vbench-overall"):
        told = ClipScore.from_mapping({"protocol": name}).protocol
        assert told.startswith(f"{name}: ")
        assert told.split(";")[0] in ClipScore.protocol


@needs_models
def test_hessels_score_through_open_clip(
    tiny: None, tiny_clip: Any, clip_state: Any, moving_square: Callable[..., Pixels]
) -> None:
    """The whole way, by open_clip's own network, transform and tokenizer, as clipscore.py computes it."""
    import open_clip
    import torch
    from PIL import Image

    config = tiny_clip("ViT-B-32")
    network = open_clip.model.CLIP(64, config["vision_cfg"], config["text_cfg"], quick_gelu=True).eval()
    network.load_state_dict(clip_state(config))
    transform = open_clip.image_transform(64, is_train=False)
    pixels = moving_square(frames=5, height=60, width=100)
    values = {}
    for prompt in ("a red square moves to the right", LONG, "green", "old shoes, many of them"):
        with torch.inference_mode():
            images = network.encode_image(torch.stack([transform(Image.fromarray(f)) for f in pixels]), normalize=True)
            text = network.encode_text(open_clip.tokenize(["A photo depicts " + prompt]), normalize=True)
        expected = 2.5 * np.clip((images * text).sum(dim=1).numpy(), 0, None).mean()
        got = ClipScore().score(observations(ClipScore, pixels), clip(prompt))
        assert got.value == pytest.approx(expected, abs=1e-6)
        assert str(got.details["remark"]).startswith("not computed with OpenAI's published weights (checksum sha256:")
        values[prompt] = got.value
    assert max(v for v in values.values() if v is not None) > 0.01


@needs_models
def test_prompts_of_more_than_77_tokens_are_said_to_be_cut(tiny: None, moving_square: Callable[..., Pixels]) -> None:
    pixels = moving_square(frames=2)
    count = tokens_of("A photo depicts " + LONG, 77)[1]
    told = ClipScore().score(observations(ClipScore, pixels), clip(LONG)).details["note"]
    assert told == f"the prompt has {count} tokens and CLIP takes 77: the rest was cut off"
    theirs = ClipScore.from_mapping({"protocol": "torchmetrics"})
    seen = observations(theirs, pixels)
    long_ones = [theirs.score(seen, clip(text)) for text in (LONG, "forty green trucks in the snow " * 20)]
    assert long_ones[0].details["curve"] == long_ones[1].details["curve"]
    assert "says nothing of the prompt" in str(long_ones[0].details["note"])
    short = theirs.score(seen, clip("a dog"))
    assert short.details["note"] is None
    assert short.details["curve"] != long_ones[0].details["curve"]


@needs_models
def test_tokens_are_open_clips_and_cut_ones_keep_their_end_only_if_told() -> None:
    import open_clip

    for text in ("a dog", "Two  cats, asleep: it's 5 o'clock!", LONG, "", "日本 🐕 &amp; naïve"):
        kept, count = tokens_of(text, 77)
        wanted = open_clip.tokenize([text])[0].tolist()
        assert kept + [0] * (77 - len(kept)) == wanted
        assert (count > 77) == (text == LONG)
    assert tokens_of("a dog", 4) == ([49406, 320, 1929, 49407], 4)
    assert tokens_of("a dog runs", 4) == ([49406, 320, 1929, 49407], 5)
    assert tokens_of("a dog runs", 4, keep_end=False) == (tokens_of("a dog runs", 9)[0][:4], 5)


@needs_models
def test_a_prompt_is_embedded_once_and_the_tower_loaded_once(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def counted(source: ClipSource, file: ClipFile) -> Any:
        loaded.append(source.model)
        return text_tower(source, file)

    monkeypatch.setattr(clip_text, "text_tower", counted)
    clip_text._tower.cache_clear()
    clip_text._embed.cache_clear()
    source = ClipSource("ViT-B-32")
    first = embed_prompt(source, "a dog")
    assert embed_prompt(source, "a dog") is first
    embed_prompt(source, "a cat")
    assert loaded == ["ViT-B-32"]
    assert not first.vector.flags.writeable


def _benchmark() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "parity_clip.py"
    spec = importlib.util.spec_from_file_location("parity_clip", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["parity_clip"] = module  # where its annotations are looked up
    spec.loader.exec_module(module)
    return module


def test_parity_with_torchmetrics_and_transformers(
    tmp_path: Path, moving_square: Callable[..., Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidbench.video import encode_h264

    benchmark = _benchmark()
    lacking = benchmark.missing()
    if lacking:
        pytest.skip(f"{', '.join(lacking)} not installed: pip install 'vidbench[models,parity]'")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "m").mkdir()
    for number, (height, width) in enumerate(((120, 200), (300, 226))):
        encode_h264(tmp_path / "m" / f"{number}.mp4", moving_square(4, height, width, seed=number), 8.0)
    found = benchmark.rows(tmp_path)
    assert len(found) == 8
    for row in found:
        assert abs(row.theirs) > 1e-4, row
        assert not row.limited or row.relative_difference <= benchmark.LIMIT, row


@pytest.fixture
def own_model(tmp_path: Path, tiny_clip: Any, clip_state: Any) -> list[str]:
    """Settings that make every CLIP metric use a small model of one's own."""
    import torch

    config = {**tiny_clip("ViT-B-32"), "quick_gelu": True}
    (tmp_path / "own.json").write_text(json.dumps(config))
    torch.save(clip_state(config), tmp_path / "own.pt")
    names = ("clip_score", "clip_temporal_consistency", "background_consistency")
    places = {"model": tmp_path / "own.json", "weights": tmp_path / "own.pt"}
    return [f"--set={name}.{key}={path}" for name in names for key, path in places.items()]


@needs_models
def test_a_run_with_a_model_of_ones_own(vidbench, small_folder, own_model, tmp_path) -> None:
    (small_folder / "metadata.csv").write_text(
        f"file_name,prompt\na/0.mp4,a dog\nb/1.mp4,{LONG}\na/2.mp4,a cat\nb/3.mp4,\na/4.mp4,a dog\n"
    )
    names = "clip_score,clip_temporal_consistency,background_consistency"
    command = ("run", small_folder, "--metrics", names, *own_model, "--jobs", "1", "--no-media")
    done = vidbench(*command, "--out", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "one" / "scores.jsonl").read_text().splitlines()]
    by = {(row["clip"], row["metric"]): row for row in rows}
    assert len(by) == 15
    assert by["b/3.mp4", "clip_score"]["reason"] == "it has no prompt"
    assert all(row["value"] is not None for key, row in by.items() if key != ("b/3.mp4", "clip_score"))
    assert "the rest was cut off" in by["b/1.mp4", "clip_score"]["details"]["note"]
    assert len(by["a/0.mp4", "clip_score"]["details"]["curve"]) == 10
    facts = {m["name"]: m for m in json.loads((tmp_path / "one" / "run.json").read_text())["metrics"]}
    assert facts["clip_score"]["extractors"] == facts["clip_temporal_consistency"]["extractors"]  # one pass for both
    assert facts["clip_score"]["extractors"] != facts["background_consistency"]["extractors"]
    assert facts["clip_score"]["weights"]["clip_image"].startswith("sha256:")
    again = vidbench(*command, "--out", tmp_path / "two")
    assert again.returncode == 0, again.stderr
    one, two = (sorted((tmp_path / name / "scores.jsonl").read_text().splitlines()) for name in ("one", "two"))
    assert one == two
    assert "the rest was cut off" in (tmp_path / "one" / "report.html").read_text()


def test_without_weights_a_run_names_the_commands_and_exits_with_3(
    vidbench, small_folder, tmp_path, monkeypatch
) -> None:
    if importlib.util.find_spec("open_clip") is None:
        pytest.skip("open_clip is not installed: pip install 'vidbench[models]'")
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("VIDBENCH_OFFLINE", "1")
    names = "clip_score,clip_temporal_consistency,background_consistency,aesthetic_quality"
    done = vidbench("run", small_folder, "--metrics", names, "--out", tmp_path / "run", "--no-media", "--jobs", "1")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    for name in names.split(","):
        wanted = ["laion-aesthetic", "clip-vit-l-14"] if name == "aesthetic_quality" else ["clip-vit-b-32"]
        rows = [json.loads(line) for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines()]
        reasons = {one["reason"] for one in rows if one["metric"] == name}
        assert len(reasons) == 1
        said = reasons.pop().split("; ")
        assert [part.rsplit(" are not here: ", 1)[1] for part in said] == [
            f"vidbench weights fetch {w}" for w in wanted
        ]
    left_out = {item.metric: item.reason for item in select(discover(small_folder), has_reference=False).left_out}
    assert "vidbench weights fetch laion-aesthetic; " in left_out["aesthetic_quality"]
    assert left_out["aesthetic_quality"].endswith("vidbench weights fetch clip-vit-l-14")


@needs_models
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("clip_score.model=ViT-B-23", "open_clip has no model 'ViT-B-23'; did you mean ViT-B-32"),
        ("clip_score.weights=gone.pt", "gone.pt cannot be read (No such file or directory)"),
        ("clip_score.protocol=hesel", "clip_score.protocol must be one of hessel"),
    ],
)
def test_wrong_choices_end_a_run_with_one_line(vidbench, small_folder, tmp_path, setting: str, said: str) -> None:
    done = vidbench("run", small_folder, "--metrics", "clip_score", f"--set={setting}", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_frame_scores_of_zero_embeddings_are_nan() -> None:
    assert np.isnan(frame_scores(np.zeros((1, 2)), np.ones(2), PROTOCOLS["evalcrafter"])).all()
