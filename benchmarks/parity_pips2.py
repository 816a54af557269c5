"""Does our PIPs++ follow points as the network that FVMD rests on, with the same random weights?

    pip download --no-deps fvmd==1.0.0
    python -m benchmarks.parity_pips2 fvmd-1.0.0-py3-none-any.whl

The package wants what it does not say (fire, loguru, tensorboardX, prettytable, matplotlib) and a GPU, so it is not
installed: the module that holds the network is imported out of the wheel, and its `.cuda()` left without effect. Prints
whether keys and shapes are equal, the largest difference of tracks in pixels after so many turns, and the values that
the tests carry as golden.

Random weights make a tracker that amplifies: a difference in the seventh place grows tenfold in a turn or two. The last
layer is therefore scaled until tracks move by pixels, as trained ones do.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
import warnings
from typing import Any

import numpy as np

from benchmarks.parity_vbench import bare_packages
from tests.conftest import VBENCH_GAINS, portable_tensors

LAST = "delta_block.dense.weight"
SCALE = 0.05


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Random weights whose tracks move by pixels."""
    import torch

    state = {k: torch.from_numpy(v) for k, v in portable_tensors(shapes, gain=VBENCH_GAINS["pips2"]).items()}
    state[LAST] = SCALE * state[LAST]
    return state


def moving_picture(side: int = 128, frames: int = 16) -> Any:
    """(16, 3, 128, 128) float32: a smooth random picture that moves by 2, 1 pixels a frame."""
    import torch

    noise = np.random.default_rng(1).uniform(40, 215, (24, 24, 3))
    wide = side + 2 * frames
    at = np.linspace(0, 22, wide)
    low = at.astype(int)
    down, across = (at - low)[:, None, None], (at - low)[None, :, None]
    above = (1 - across) * noise[low][:, low] + across * noise[low][:, low + 1]
    below = (1 - across) * noise[low + 1][:, low] + across * noise[low + 1][:, low + 1]
    whole = ((1 - down) * above + down * below).round().astype(np.float32)
    cuts = [whole[t : t + side, 2 * t : 2 * t + side] for t in range(frames)]
    return torch.from_numpy(np.stack(cuts)).permute(0, 3, 1, 2).contiguous()


def some_points() -> Any:
    """(9, 2), one of them on the feature map's border."""
    import torch

    return torch.tensor([[x, y] for x in (8.0, 62.3, 120.0) for y in (8.0, 57.9, 111.4)])


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fvmd", help="wheel of fvmd 1.0.0, or the folder it was unpacked into")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of theirs
    import torch

    from vidbench_metrics.networks import pips2

    torch.set_num_threads(1)
    bare_packages(given.fvmd, ("fvmd", "fvmd.nets", "fvmd.utils"))
    table = types.ModuleType("prettytable")
    table.PrettyTable = object  # type: ignore[attr-defined]
    sys.modules.setdefault("prettytable", table)
    torch.Tensor.cuda = lambda self, *args, **kwargs: self
    for name in ("basic", "misc", "samp"):  # which bare packages do not tie to their parents
        setattr(sys.modules["fvmd.utils"], name, importlib.import_module(f"fvmd.utils.{name}"))
    sys.modules["fvmd"].utils = sys.modules["fvmd.utils"]  # type: ignore[attr-defined]
    theirs = importlib.import_module("fvmd.nets.pips2").Pips(stride=8).eval()
    shapes = pips2.tensor_shapes()
    equal = {key: tuple(value.shape) for key, value in theirs.state_dict().items()} == shapes
    print(f"pips2: {len(shapes)} tensors, keys and shapes equal: {equal}")
    state = weights(shapes)
    theirs.load_state_dict(state)
    ours = pips2.Pips2(state)
    pictures, points = moving_picture(), some_points()
    maps = torch.stack([ours.features(picture) for picture in pictures])
    with torch.no_grad():
        expected = theirs.fnet(2 * (pictures / 255.0) - 1.0)
        apart = float((expected - maps).abs().max())
        print(f"feature maps: largest difference {apart:.1e} of {float(expected.abs().max()):.2f}")
        for turns in (1, 4, 16):
            start = points[None, None].repeat(1, len(pictures), 1, 1)
            tracks = theirs(start, pictures[None], iters=turns, beautify=True)[0][-1][0]
            found = ours(maps, points, turns)
            moved, apart = (float((tracks - other).abs().max()) for other in (tracks[:1], found))
            golden = [round(float(v), 5) for v in tracks[15, ::4].ravel()]
            print(f"{turns} turns: largest difference {apart:.1e} pixels, tracks move by up to {moved:.2f}; {golden}")


if __name__ == "__main__":
    main()
