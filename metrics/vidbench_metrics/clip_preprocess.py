"""How published metrics bring a frame to CLIP; each to the pixel as its source does.

All take one frame (H, W, 3) uint8 RGB and give (3, side, side) float32. Sources:

* `official`: openai/CLIP clip/clip.py `_transform`, as jmhessel/clipscore 10364652 uses it.
* `huggingface`: huggingface/transformers CLIPImageProcessor, which cuts half pixels off where torchvision rounds.
* `vbench`: Vchitect/VBench 45e79ec1 vbench/utils.py `clip_transform`.
* `evalcrafter`, `evalcrafter-temporal`: evalcrafter/EvalCrafter metrics/Scores_with_CLIP/Scores_with_CLIP.py; both hand
  grey levels from 0 to 255 to a network that was trained on normalised ones.
* `cmmd`: google-research/google-research cmmd (jax.image.resize is antialiased).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError, PluginError
from vidbench_metrics.extractors.resize import squash, to_tensor

if TYPE_CHECKING:
    from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that OpenAI's models were trained on, in shares of 255."""
NARROWEST = 64
"""Frames longer than this many times their width would be enlarged beyond reason to fill a square."""


@dataclass(frozen=True, slots=True)
class ModelInput:
    """What a model was trained on."""

    side: int = 224
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    bilinear: bool = False
    """Instead of bicubic."""
    squashed: bool = False
    """To a square whatever the aspect ratio, instead of cut to one."""


def model_input(model: str, side: int, own: Mapping[str, Any]) -> ModelInput:
    """What the model wants: its JSON file's word, else what open_clip knows of all weights of that architecture.

    Args:
        model: open_clip's name of the architecture.
        side: of its pictures.
        own: `preprocess_cfg` of its JSON file, empty where there is none.

    Raises:
        PluginError: it wants something else than these choices.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    facts: dict[str, Any] = dict(own)
    if not facts:
        keys = ("mean", "std", "interpolation", "resize_mode")
        tags = list_pretrained_tags_by_model(model)
        listed = [{key: get_pretrained_cfg(model, tag).get(key) for key in keys} for tag in tags]
        if listed and all(one == listed[0] for one in listed):
            facts = listed[0]
    filters = {None: False, "bicubic": False, "bilinear": True}
    modes = {None: False, "shortest": False, "squash": True}
    filter_, mode = facts.get("interpolation"), facts.get("resize_mode")
    if filter_ not in filters or mode not in modes:
        raise PluginError(f"{model} wants pictures resized by {filter_} in the mode {mode}, which is not supported")
    mean, std = (tuple(map(float, facts.get(key) or known)) for key, known in (("mean", MEAN), ("std", STD)))
    return ModelInput(side, mean, std, filters[filter_], modes[mode])


def official(pixels: NDArray[np.uint8], wanted: ModelInput) -> Tensor:
    """Pillow's bicubic of bytes, shorter side to `side`, centre; or what else the model was trained on."""
    return _by_pillow(pixels, wanted, round)


def huggingface(pixels: NDArray[np.uint8], wanted: ModelInput) -> Tensor:
    """As `official`, the centre cut half a pixel higher and more to the left where it falls between two."""
    return _by_pillow(pixels, wanted, int)


def vbench(pixels: NDArray[np.uint8], wanted: ModelInput) -> Tensor:
    """Bicubic of floats without antialiasing, shorter side, centre; overshoot beyond 0 and 255 stays."""
    return normalised(_bicubic_centre(pixels, wanted), wanted)


def vbench_bytes(pixels: NDArray[np.uint8], wanted: ModelInput) -> NDArray[np.uint8]:
    """(side, side, 3): as `vbench`, but rounded to bytes, as torchvision resizes tensors of bytes; not normalised."""
    resized = _bicubic_centre(pixels, wanted).clamp(0, 255).round().byte()
    return np.ascontiguousarray(resized.permute(1, 2, 0).numpy())


def _bicubic_centre(pixels: NDArray[np.uint8], wanted: ModelInput) -> Tensor:
    from torch.nn import functional

    frame, side = to_tensor(pixels), wanted.side
    size = shorter_side_to(side, *frame.shape[1:])
    if size != tuple(frame.shape[1:]):
        frame = functional.interpolate(frame[None], size, mode="bicubic", align_corners=False)[0]
    top, left = (round((length - side) / 2) for length in size)
    return frame[:, top : top + side, left : left + side]


def evalcrafter(pixels: NDArray[np.uint8], wanted: ModelInput) -> Tensor:
    """OpenCV's bilinear of bytes to a square, from 0 to 255."""
    import cv2

    return to_tensor(np.asarray(cv2.resize(pixels, (wanted.side, wanted.side)), np.uint8))


def evalcrafter_temporal(pixels: NDArray[np.uint8], wanted: ModelInput) -> Tensor:
    """Bilinear of floats to a square without antialiasing (torchvision 0.14's for tensors), from 0 to 255."""
    return squash(to_tensor(pixels), wanted.side)


def cmmd(pixels: NDArray[np.uint8], wanted: ModelInput) -> Tensor:
    """Antialiased bicubic of floats to a square; overshoot stays."""
    from torch.nn import functional

    size = (wanted.side, wanted.side)
    frame = to_tensor(pixels)
    if tuple(frame.shape[1:]) != size:
        frame = functional.interpolate(frame[None], size, mode="bicubic", align_corners=False, antialias=True)[0]
    return normalised(frame, wanted)


PREPROCESSING: dict[str, Callable[[NDArray[np.uint8], ModelInput], Tensor]] = {
    "official": official,
    "huggingface": huggingface,
    "vbench": vbench,
    "evalcrafter": evalcrafter,
    "evalcrafter-temporal": evalcrafter_temporal,
    "cmmd": cmmd,
}


def shorter_side_to(side: int, height: int, width: int) -> tuple[int, int]:
    """Height and width once the shorter is `side`; the other cut off to a whole number, as torchvision does.

    Raises:
        InputError: the frame is a strip.
    """
    if max(height, width) > NARROWEST * min(height, width):
        raise InputError(f"frames of {width}x{height} are strips: CLIP looks at squares")
    return (side, int(side * width / height)) if height <= width else (int(side * height / width), side)


def normalised(frame: Tensor, wanted: ModelInput) -> Tensor:
    """(3, H, W) from 0 to 255 by the model's mean and deviation."""
    import torch

    mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (wanted.mean, wanted.std))
    return (frame / 255 - mean) / std


def _by_pillow(pixels: NDArray[np.uint8], wanted: ModelInput, whole: Callable[[float], int]) -> Tensor:
    from PIL import Image

    side, picture = wanted.side, Image.fromarray(np.ascontiguousarray(pixels))
    size = (side, side) if wanted.squashed else shorter_side_to(side, *pixels.shape[:2])
    by = Image.Resampling.BILINEAR if wanted.bilinear else Image.Resampling.BICUBIC
    if size != pixels.shape[:2]:
        picture = picture.resize(size[::-1], by)
    top, left = (whole((length - side) / 2) for length in size)
    return normalised(to_tensor(np.asarray(picture, np.uint8)[top : top + side, left : left + side]), wanted)
