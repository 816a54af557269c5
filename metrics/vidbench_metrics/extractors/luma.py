"""The two picture operations that extractors share: luma, and a smaller picture of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

GreyImage = NDArray[np.uint8]


def luma(frame: NDArray[np.uint8]) -> GreyImage:
    """Rec. 601 luma, 0 to 255, of one (H, W, 3) RGB frame as (H, W)."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def reduced(image: GreyImage, short_side: int) -> GreyImage:
    """Reduce an (H, W) image by area averaging so that its short side is `short_side` pixels; never enlarge."""
    height, width = image.shape
    scale = short_side / min(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
