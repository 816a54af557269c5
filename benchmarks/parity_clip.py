"""CLIP metrics against other people's programs: the same random CLIP, the same frames of the same real clips.

The CLIP is a small one of transformers with random weights, saved as transformers saves it; vidbench reads that file.
Nothing is downloaded: the true weights are not needed to see that two programs do the same sums. Theirs are
torchmetrics' CLIPScore, and transformers' CLIPModel with torchvision, OpenCV and PyTorch called as the protocols'
sources call them. Limit: relative difference 1e-5; exit code 1 beyond. One row has no limit: CLIPScore with
transformers' newer default processor, which resizes bytes by torchvision instead of Pillow, shows what that changes.

    pip install torchmetrics transformers
    python benchmarks/parity_clip.py [--clips ../shared/clips/fetv]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LIMIT = 1e-5
FRAMES = 8
SIDE, PATCH, WIDTH, LAYERS, EMBED = 224, 32, 128, 2, 64
NEEDED = ("torch", "open_clip", "transformers", "torchmetrics")
LONG = "a very long prompt about a dog that runs and runs and runs over a green meadow under a blue sky, " * 8

Pixels = NDArray[np.uint8]


class Row(NamedTuple):
    """One value, computed twice."""

    name: str
    package: str
    version: str
    ours: float
    theirs: float
    relative_difference: float
    limited: bool = True
    """False where the two are known to differ, and the row says by how much."""


def missing() -> list[str]:
    """Packages that `rows` needs and that are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def rows(clips: Path) -> list[Row]:
    """Every comparison.

    Args:
        clips: a folder of one folder of videos a model, such as fetv.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _rows(Clips(clips), Models(Path(folder)))
    finally:
        torch.set_num_threads(before)


class Clips:
    """A few frames of two real clips: of a wide picture and of one whose crop falls between two pixels."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob("*/*.mp4"))
        if not paths:
            sys.exit(f"{folder} has no clips (*/*.mp4)")
        wide = [frames for path in (paths[0], paths[-1]) for frames in (decoded(path),)]
        self.all: list[Pixels] = [*wide, np.ascontiguousarray(wide[-1][:, :137, :223])]


def decoded(path: Path) -> Pixels:
    """The first frames, by PyAV alone."""
    import av

    with av.open(path) as container:
        frames = [
            frame.to_ndarray(format="rgb24") for frame, _ in zip(container.decode(video=0), range(FRAMES), strict=False)
        ]
    return np.stack(frames)


class Models:
    """The random CLIP as transformers has it, and the files from which vidbench reads the same."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import CLIPConfig, CLIPModel

        text = {"hidden_size": EMBED, "intermediate_size": 4 * EMBED, "num_attention_heads": 1}
        vision = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": WIDTH // 64}
        both = {"num_hidden_layers": LAYERS, "hidden_act": "quick_gelu", "projection_dim": EMBED}
        config = CLIPConfig(
            text_config={**both, **text, "vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 2},
            vision_config={**both, **vision, "image_size": SIDE, "patch_size": PATCH},
            projection_dim=EMBED,
        )
        self.model: Any = CLIPModel(config)
        self.model.eval()
        rng = np.random.default_rng(0)
        with torch.no_grad():
            for name, value in sorted(self.model.named_parameters()):
                value.copy_(torch.from_numpy(random_parameter(rng, name, tuple(value.shape))))
            self._lean_together()
        self.model.save_pretrained(folder / "transformers")
        self.weights = folder / "transformers" / "model.safetensors"
        self.config = folder / "open_clip_config.json"
        self.config.write_text(json.dumps(open_clip_config()), encoding="utf-8")
        self.tokenizer = tokenizer(folder)
        torch.manual_seed(0)
        self.head = torch.nn.Linear(768, 1)

    def _lean_together(self) -> None:
        """Give all embeddings a common part, as trained ones have: cosines of about 0 would hide what is compared."""
        import torch

        common = torch.ones(EMBED)
        model = self.model
        for norm, projection in (
            (model.vision_model.post_layernorm, model.visual_projection),
            (model.text_model.final_layer_norm, model.text_projection),
        ):
            norm.bias += projection.weight.T @ common

    def source(self) -> dict[str, str]:
        """The parameters by which a metric of vidbench finds them."""
        return {"model": str(self.config), "weights": str(self.weights)}

    def images(self, pixels: Any) -> Any:
        """(N, 3, side, side) float32 to normalised embeddings."""
        import torch

        with torch.no_grad():
            seen = self.model.get_image_features(pixel_values=pixels)
        return torch.nn.functional.normalize(getattr(seen, "pooler_output", seen), dim=-1)

    def text(self, text: str) -> Any:
        """A prompt, truncated as transformers does it, to a normalised embedding."""
        import torch

        tokens = self.tokenizer(text, return_tensors="pt", padding=True, truncation=True, max_length=77)
        with torch.no_grad():
            seen = self.model.get_text_features(input_ids=tokens["input_ids"])
        return torch.nn.functional.normalize(getattr(seen, "pooler_output", seen), dim=-1)[0]


def random_parameter(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Of a size that lets signals through: fresh ones of transformers give nearly the same embedding for everything."""
    noise = np.asarray(rng.standard_normal(shape), np.float32)
    if name.endswith("bias") or not shape:
        return np.asarray(0.1 * noise, np.float32)
    if "norm" in name:
        return np.asarray(1 + 0.1 * noise, np.float32)
    fan_in = float(np.prod(shape[1:])) if len(shape) > 1 and "embedding.weight" not in name else 1.0
    return np.asarray(noise / np.sqrt(fan_in), np.float32)


def open_clip_config() -> dict[str, Any]:
    """The same architecture in open_clip's words."""
    return {
        "embed_dim": EMBED,
        "quick_gelu": True,
        "vision_cfg": {"image_size": SIDE, "layers": LAYERS, "width": WIDTH, "patch_size": PATCH},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": EMBED, "heads": 1, "layers": LAYERS},
    }


def tokenizer(folder: Path) -> Any:
    """The tokenizer of transformers, from the vocabulary that is inside open_clip."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    words = SimpleTokenizer()
    special = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {special.get(word, word): number for word, number in words.encoder.items()}
    merges = [" ".join(pair) for pair, _ in sorted(words.bpe_ranks.items(), key=lambda item: item[1])]
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>"}),
        encoding="utf-8",
    )
    return CLIPTokenizer.from_pretrained(folder)


def ours(metric: Any, pixels: Pixels, prompt: str = "") -> float:
    """What a run of vidbench gives for these frames."""
    from vidbench.clips import Clip
    from vidbench.testing import observations

    seen = observations(metric, pixels)
    value = metric.score(seen, Clip(id="clip", path=Path("clip"), model="m", prompt=prompt)).value
    if value is None:
        sys.exit(f"{metric.name} gave no value")
    return float(value)


def _rows(clips: Clips, models: Models) -> list[Row]:
    from vidbench_metrics.background_consistency import BackgroundConsistency
    from vidbench_metrics.clip_score import ClipScore
    from vidbench_metrics.clip_temporal_consistency import ClipTemporalConsistency

    found: list[Row] = []
    hub = ("transformers", metadata.version("transformers"))
    torch_metrics = ("torchmetrics", metadata.version("torchmetrics"))
    prompts = ("a dog runs over a meadow", "Two cats, asleep: it's 5 o'clock!", LONG)
    for protocol, theirs in (("hessel", hessel), ("evalcrafter", evalcrafter)):
        metric = ClipScore.from_mapping({"protocol": protocol, **models.source()})
        values = [
            (ours(metric, pixels, prompt), theirs(models, pixels, prompt)) for pixels in clips.all for prompt in prompts
        ]
        found.append(worst(f"clip_score {protocol}", hub, values))
    metric = ClipScore.from_mapping({"protocol": "torchmetrics", **models.source()})
    for name, some, pillow in (
        ("clip_score torchmetrics, Pillow", prompts[:2], True),
        ("clip_score torchmetrics, over 77 tokens", prompts[2:], True),
        ("clip_score torchmetrics, torchvision", prompts[:2], False),
    ):
        values = [
            (ours(metric, pixels, prompt), torchmetrics_score(models, pixels, prompt, pillow=pillow))
            for pixels in clips.all
            for prompt in some
        ]
        found.append(worst(name, torch_metrics, values, limited=pillow))
    for kind, name, theirs_of in (
        (ClipTemporalConsistency, "evalcrafter", evalcrafter_temporal),
        (BackgroundConsistency, "", vbench_background),
    ):
        made: Any = kind.from_mapping({**({"protocol": name} if name else {}), **models.source()})
        values = [(ours(made, pixels), theirs_of(models, pixels)) for pixels in clips.all]
        found.append(worst(f"{kind.name} {name or 'vbench'}", hub, values))
    found.append(aesthetic(clips, models))
    return found


def worst(name: str, package: tuple[str, str], values: Sequence[tuple[float, float]], *, limited: bool = True) -> Row:
    """The pair that differs most."""
    a, b = max(values, key=lambda pair: difference(*pair))
    return Row(f"{name}, worst of {len(values)}", *package, a, b, difference(a, b), limited)


def difference(a: float, b: float) -> float:
    """Relative; 0 where both are 0."""
    return abs(a - b) / abs(b) if b else float(a != b)


def hessel(models: Models, pixels: Pixels, prompt: str) -> float:
    """jmhessel/clipscore 10364652: OpenAI's transform by torchvision on Pillow's images, 2.5 x max(cosine, 0)."""
    import torch
    from PIL import Image
    from torchvision import transforms

    transform = transforms.Compose(
        [
            transforms.Resize(SIDE, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(SIDE),
            transforms.ToTensor(),
            transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    images = models.images(torch.stack([transform(Image.fromarray(frame)) for frame in pixels]))
    per_frame = 2.5 * np.clip((images @ models.text(f"A photo depicts {prompt}")).numpy(), 0, None)
    return float(np.mean(per_frame))


def evalcrafter(models: Models, pixels: Pixels, prompt: str) -> float:
    """evalcrafter/EvalCrafter calculate_clip_score."""
    import cv2
    import torch

    frames = [torch.from_numpy(cv2.resize(frame, (SIDE, SIDE))).permute(2, 0, 1).float() for frame in pixels]
    images = torch.cat([models.images(frame[None]) for frame in frames])
    return float((images @ models.text(prompt)).mean())


def evalcrafter_temporal(models: Models, pixels: Pixels) -> float:
    """evalcrafter/EvalCrafter calculate_clip_temp_score; torchvision 0.14 did not antialias tensors."""
    import torch
    from torchvision.transforms import Resize

    frames = Resize([SIDE, SIDE], antialias=False)(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    images = torch.cat([models.images(frame[None]) for frame in frames])
    return float((images[:-1] * images[1:]).sum(dim=-1).mean())


def vbench_background(models: Models, pixels: Pixels) -> float:
    """Vchitect/VBench 45e79ec1: its transform by torchvision on tensors, its sum pair by pair."""
    images = models.images(vbench_transform(pixels))
    total = 0.0
    for i in range(1, len(images)):
        before, first = (float(images[i] @ images[j]) for j in (i - 1, 0))
        total += (max(0.0, before) + max(0.0, first)) / 2
    return total / (len(images) - 1)


def vbench_transform(pixels: Pixels) -> Any:
    import torch
    from torchvision import transforms

    transform = transforms.Compose(
        [
            transforms.Resize(SIDE, interpolation=transforms.InterpolationMode.BICUBIC, antialias=False),
            transforms.CenterCrop(SIDE),
            transforms.Lambda(lambda x: x.float().div(255.0)),
            transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    return transform(torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2))


def torchmetrics_score(models: Models, pixels: Pixels, prompt: str, *, pillow: bool) -> float:
    """Every frame with the prompt through torchmetrics' own CLIPScore."""
    import torch
    from torchmetrics.multimodal import CLIPScore
    from transformers import CLIPProcessor
    from transformers.models.clip.image_processing_clip import CLIPImageProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    images = (CLIPImageProcessorPil if pillow else CLIPImageProcessor)(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    processor = CLIPProcessor(images, models.tokenizer)
    score = CLIPScore(model_name_or_path=lambda: (_FeaturesAsTensors(models.model), processor))
    frames = list(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    score.update(frames, [prompt] * len(frames))
    return float(score.compute())


class _FeaturesAsTensors:
    """What torchmetrics 1.9 expects of transformers' CLIPModel, whose features became an object in version 5."""

    def __init__(self, model: Any) -> None:
        self.model, self.config = model, model.config

    def to(self, _: Any) -> _FeaturesAsTensors:
        return self

    def eval(self) -> _FeaturesAsTensors:
        return self

    def get_image_features(self, pixels: Any) -> Any:
        seen = self.model.get_image_features(pixel_values=pixels)
        return getattr(seen, "pooler_output", seen)

    def get_text_features(self, tokens: Any, mask: Any) -> Any:
        seen = self.model.get_text_features(input_ids=tokens, attention_mask=mask)
        return getattr(seen, "pooler_output", seen)


def aesthetic(clips: Clips, models: Models) -> Row:
    """VBench's last lines on random embeddings: its network needs 768 dimensions."""
    import torch

    from vidbench_metrics.aesthetic_quality import AestheticHead, aesthetic_ratings

    rows_ = np.random.default_rng(0).standard_normal((50, 768)).astype(np.float32)
    weight = models.head.weight.detach()[0].double().numpy()
    mine = aesthetic_ratings(rows_, AestheticHead(weight, float(models.head.bias.detach()))).mean() / 10
    with torch.no_grad():
        theirs = models.head(torch.nn.functional.normalize(torch.from_numpy(rows_), dim=-1)).squeeze() / 10
    values = [(float(mine), float(theirs.mean()))]
    return worst("aesthetic_quality, the predictor", ("torch", metadata.version("torch")), values)


def main() -> int:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=Path("../shared/clips/fetv"))
    arguments = parser.parse_args()
    lacking = missing()
    if lacking:
        print(f"{', '.join(lacking)} not installed: pip install 'vidbench[models,parity]'", file=sys.stderr)
        return 2
    found = rows(arguments.clips)
    print(f"{'':<52}{'against':<24}{'vidbench':>16}{'theirs':>16}{'relative':>10}")
    for row in found:
        verdict = ("ok" if row.relative_difference <= LIMIT else "FAILED") if row.limited else "(known)"
        print(
            f"{row.name:<52}{f'{row.package} {row.version}':<24}{row.ours:>16.9g}{row.theirs:>16.9g}"
            f"{row.relative_difference:>10.1e}  {verdict}"
        )
    limited = [row for row in found if row.limited]
    right = sum(row.relative_difference <= LIMIT for row in limited)
    print(f"\n{right} of {len(limited)} rows within {LIMIT:g}")
    return 0 if right == len(limited) else 1


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is to be fetched; without it transformers looks around
    sys.exit(main())
