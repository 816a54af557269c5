"""Do our ViCLIP towers give what VBench's give, with the same random weights?

    pip download --no-deps vbench==0.1.5
    python -m benchmarks.parity_viclip vbench-0.1.5-py3-none-any.whl

The package wants what we do not have (numpy < 2, decord), so it is not installed: the modules that hold ViCLIP are
imported out of the wheel. Keys and shapes are compared at the published size, without memory for weights; numbers on
towers of the tests' size, whose values they carry as golden. Prints one line a check.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
import warnings
from typing import Any

import numpy as np

from benchmarks.parity_vbench import bare_packages, told
from tests.conftest import VBENCH_GAINS, portable_tensors, small_viclip

PROMPTS = (
    "a ball",
    "Two dogs, running after a red ball in the rain: slow-motion!",
    "word " * 40,
)


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Random weights."""
    import torch

    return {k: torch.from_numpy(v) for k, v in portable_tensors(shapes, gain=VBENCH_GAINS["viclip-l-14"]).items()}


def eight_frames(side: int) -> Any:
    """(8, 3, side, side), normalised noise that differs by frame."""
    import torch

    return torch.from_numpy(np.random.default_rng(3).normal(size=(8, 3, side, side)).astype(np.float32))


def _stand_ins() -> None:
    """What the modules import and is not used, or has moved since."""
    layers, registry = types.ModuleType("timm.models.layers"), types.ModuleType("timm.models.registry")
    import timm.layers
    import timm.models

    layers.DropPath = timm.layers.DropPath  # type: ignore[attr-defined]
    registry.register_model = lambda function: function  # type: ignore[attr-defined]
    sys.modules |= {"timm.models.layers": layers, "timm.models.registry": registry}
    utils = types.ModuleType("vbench.utils")  # of which nothing but a folder's name is used
    utils.CACHE_DIR = ""  # type: ignore[attr-defined]
    sys.modules["vbench.utils"] = utils
    if importlib.util.find_spec("pkg_resources") is None:
        import packaging.version

        resources = types.ModuleType("pkg_resources")
        resources.packaging = packaging  # type: ignore[attr-defined]
        sys.modules["pkg_resources"] = resources
    if importlib.util.find_spec("einops") is None:
        einops = types.ModuleType("einops")
        einops.rearrange = _rearrange  # type: ignore[attr-defined]
        sys.modules["einops"] = einops


def _rearrange(x: Any, pattern: str, *, b: int, t: int) -> Any:
    """The two patterns that are used."""
    if pattern == "(b t) n m -> (b n) t m":
        return x.unflatten(0, (b, t)).transpose(1, 2).flatten(0, 1)
    if pattern == "(b n) t m -> b (n t) m":
        return x.unflatten(0, (b, -1)).flatten(1, 2)
    raise ValueError(pattern)


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vbench", help="wheel of vbench 0.1.5, or the folder it was unpacked into")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of theirs
    import torch

    from vidbench_metrics.clip_text import tokens_of
    from vidbench_metrics.networks import viclip

    torch.set_num_threads(1)
    bare_packages(given.vbench, ("vbench", "vbench.third_party", "vbench.third_party.ViCLIP"))
    _stand_ins()
    folder = "vbench.third_party.ViCLIP"
    tokens = importlib.import_module(f"{folder}.simple_tokenizer")
    import open_clip.tokenizer

    vars(tokens)["default_bpe"] = open_clip.tokenizer.default_bpe
    their_tokenizer = tokens.SimpleTokenizer(open_clip.tokenizer.default_bpe())
    vision, text = (importlib.import_module(f"{folder}.viclip_{name}") for name in ("vision", "text"))
    vars(text)["_Tokenizer"] = lambda: their_tokenizer
    whole = importlib.import_module(f"{folder}.viclip")
    # Its list of drop rates asks tensors for numbers, which those without memory do not have.
    vars(vision)["torch"] = types.SimpleNamespace(
        **{**vars(torch), "linspace": lambda *_: torch.zeros(_[2], device="cpu")}
    )
    with torch.device("meta"):
        published = whole.ViCLIP(tokenizer=their_tokenizer, pretrain="", freeze_text=False)
    shapes = {key: tuple(value.shape) for key, value in published.state_dict().items()}
    print(f"viclip: {len(shapes)} tensors, keys and shapes equal: {shapes == viclip.tensor_shapes()}")

    size = small_viclip()
    state = weights(viclip.tensor_shapes(size))
    theirs: dict[str, Any] = {
        viclip.VISION: vision.VisionTransformer(
            size.side, size.patch, size.width, size.depth, size.heads, size.embedding
        ),
        viclip.TEXT: text.CLIP_TEXT(
            size.embedding, viclip.CONTEXT, viclip.VOCABULARY, size.text_width, size.text_heads, size.text_depth, 0
        ),
    }
    for prefix, tower in theirs.items():
        tower.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        tower.eval()
    frames = eight_frames(size.side)
    ours_text = viclip.TextTower(state, size)
    with torch.no_grad():
        expected = theirs[viclip.VISION](frames.permute(1, 0, 2, 3)[None])[0]
        told("frames", expected, viclip.VisionTower(state, size)(frames), expected[:3].tolist())
        for prompt in PROMPTS:
            asked = theirs[viclip.TEXT].tokenize(prompt, context_length=viclip.CONTEXT)
            kept, _ = tokens_of(prompt, viclip.CONTEXT)
            padded = torch.zeros(viclip.CONTEXT, dtype=torch.long)
            padded[: len(kept)] = torch.tensor(kept)
            print(f"  tokens of {prompt[:20]!r} equal: {bool((asked[0] == padded).all())}")
            expected = theirs[viclip.TEXT](asked)[0]
            told("  text", expected, ours_text(padded), expected[:3].tolist())


if __name__ == "__main__":
    main()
