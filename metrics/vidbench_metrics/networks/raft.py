"""RAFT, torchvision's `raft_large`, loading both the authors' `raft-things.pth` and torchvision's copy of it.

Teed & Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020 (arXiv 2003.12039). Numbers must
match `RAFT.forward(iters=20, test_mode=True)` of princeton-vl/RAFT core/raft.py (BSD-3-Clause), which VBench carries.
torchvision names the same layers otherwise; `original_name` says how. Its weights `C_T_V1` are the authors', ported,
says torchvision; `C_T_V2` were trained anew and are others.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vidbench_metrics.networks.checkpoint import checked, read_state, refusal

if TYPE_CHECKING:
    from torch import Tensor

NETWORK = "RAFT (large, trained on Chairs and Things)"
COMMAND = "vidbench weights fetch raft"
COMMAND_TORCHVISION = "vidbench weights fetch raft-torchvision"
MEMBER = "models/raft-things.pth"
LARGEST_MEMBER = 64 << 20
"""Bytes: three times the file, so that a zip that unpacks without end is refused."""
CELL = 8
"""The flow is estimated at an eighth of the picture's size."""
SMALLEST_SIDE = 121
"""Pixels, which are padded to 128: the coarsest of four halvings must keep two cells."""
MOST_CELLS = 16_000
"""Every cell is compared with every other: 1.7 GB were measured for the 14,400 of 1280x720."""

_NAMES = (
    (r"^feature_encoder\.", "fnet."),
    (r"^context_encoder\.", "cnet."),
    (r"^(.net)\.convnormrelu\.0\.", r"\1.conv1."),
    (r"^(.net)\.convnormrelu\.1\.", r"\1.norm1."),
    (r"^(.net)\.conv\.", r"\1.conv2."),
    (r"\.convnormrelu(\d)\.0\.", r".conv\1."),
    (r"\.convnormrelu(\d)\.1\.", r".norm\1."),
    (r"\.motion_encoder\.convcorr(\d)\.0\.", r".encoder.convc\1."),
    (r"\.motion_encoder\.convflow(\d)\.0\.", r".encoder.convf\1."),
    (r"\.motion_encoder\.conv\.0\.", ".encoder.conv."),
    (r"\.recurrent_block\.convgru(\d)\.conv([zrq])\.", r".gru.conv\2\1."),
    (r"^mask_predictor\.convrelu\.0\.", "update_block.mask.0."),
    (r"^mask_predictor\.conv\.", "update_block.mask.2."),
)


def original_name(key: str) -> str:
    """What the authors call the tensor that torchvision calls `key`."""
    for pattern, name in _NAMES:
        key = re.sub(pattern, name, key)
    return key


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Torchvision's key to shape of all tensors but counters."""
    return {
        key: tuple(value.shape)
        for key, value in _skeleton().state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def from_original(state: Mapping[str, Any], file: str = "the checkpoint") -> dict[str, Any]:
    """The authors' tensors under torchvision's keys.

    Their file was saved from `DataParallel`, so keys begin with `module.`, and the norm of a shortcut stands in it
    twice, as `downsample.1` and as `norm3`.

    Raises:
        PluginError: a tensor is missing, unknown or, where it stands twice, differs.
    """
    import torch

    given = {key.removeprefix("module."): value for key, value in state.items()}
    found: dict[str, Any] = {}
    for key in tensor_shapes():
        name = original_name(key)
        if name not in given:
            raise refusal(file, NETWORK, f"the tensor {name} is missing", COMMAND)
        found[key] = given.pop(name)
    for key, value in given.items():
        twin = re.sub(r"^cnet\.(layer\d\.0)\.norm3\.", r"context_encoder.\1.downsample.1.", key)
        same = twin in found and isinstance(value, torch.Tensor) and torch.equal(value, found[twin])
        if not same and not key.endswith("num_batches_tracked"):
            raise refusal(file, NETWORK, f"it holds {key}, which the network does not have", COMMAND)
    return found


def _skeleton() -> Any:
    """The network without memory for its weights, which are put in later."""
    import torch
    from torchvision.models.optical_flow import raft_large

    with torch.device("meta"):
        return raft_large(weights=None, progress=False).eval()


class Raft:
    """The network.

    Args:
        state: tensors under torchvision's keys.
        file: where they come from, for messages.
        command: what brings the right file, for messages.

    Raises:
        PluginError: a tensor is missing, unknown, of another shape or not finite; says which.
    """

    def __init__(self, state: Mapping[str, Any], file: str = "the checkpoint", command: str = COMMAND) -> None:
        tensors = checked(state, tensor_shapes(), file, NETWORK, command)
        self._network = _skeleton()
        self._network.load_state_dict(tensors, strict=False, assign=True)

    def features(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """What must be known of a picture, whether it comes first or second in a pair.

        Args:
            picture: (3, H, W) float32 RGB in [0, 255], sides of at least `SMALLEST_SIDE`.

        Returns:
            The picture as the network wants it, (1, 3, h, w) padded to multiples of 8, and its feature map.
        """
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            (top, bottom), (left, right) = (padding(side) for side in picture.shape[1:])
            padded = functional.pad(picture[None], (left, right, top, bottom), mode="replicate")
            scaled = (2 * (padded / 255.0) - 1.0).contiguous()
            return scaled, self._network.feature_encoder(scaled)

    def __call__(
        self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        """Flow from the first picture to the second.

        Args:
            first: from `features`.
            second: from `features`.
            iterations: how often the flow is refined.

        Returns:
            (2, h, w) flow in pixels of the padded picture, x before y, and (2, h / 8, w / 8) the same in cells.
        """
        import torch
        from torchvision.models.optical_flow._utils import make_coords_grid, upsample_flow

        network = self._network
        with torch.inference_mode():
            network.corr_block.build_pyramid(first[1], second[1])
            hidden_size = network.update_block.hidden_state_size
            both = network.context_encoder(first[0])
            hidden, context = both[:, :hidden_size].tanh(), both[:, hidden_size:].relu()
            origin = make_coords_grid(1, *first[1].shape[2:])
            at = origin.clone()
            for _ in range(iterations):
                costs = network.corr_block.index_pyramid(centroids_coords=at)
                hidden, change = network.update_block(hidden, context, costs, at - origin)
                at = at + change
            network.corr_block.corr_pyramid = []  # a gigabyte for large pictures
            flow = at - origin
            return upsample_flow(flow=flow, up_mask=network.mask_predictor(hidden))[0], flow[0]


def padding(side: int) -> tuple[int, int]:
    """Pixels before and after a side so that 8 divides it; the smaller half before."""
    total = -side % CELL
    return total // 2, total - total // 2


def unfit(height: int, width: int) -> str:
    """Why a picture of this size cannot be looked at; empty if it can."""
    if min(height, width) < SMALLEST_SIDE:
        return f"the picture is {width}x{height} pixels; RAFT needs {SMALLEST_SIDE} a side"
    if -(-height // CELL) * -(-width // CELL) > MOST_CELLS:
        return (
            f"the picture is {width}x{height} pixels; RAFT compares every place with every other, which takes too "
            f"much memory beyond {MOST_CELLS * CELL * CELL:,} pixels: scale the clip down"
        )
    return ""


def load_original(data: bytes, file: str) -> Raft:
    """The network from the authors' `models.zip`, or from the `raft-things.pth` inside it.

    Raises:
        PluginError: it is no such file.
    """
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if MEMBER in archive.namelist():
                if archive.getinfo(MEMBER).file_size > LARGEST_MEMBER:
                    raise refusal(file, NETWORK, f"{MEMBER} in it is too large", COMMAND)
                try:
                    data = archive.read(MEMBER)
                except (zipfile.BadZipFile, EOFError, OSError, RuntimeError) as error:
                    raise refusal(file, NETWORK, f"{MEMBER} in it is damaged ({error})", COMMAND) from None
    return Raft(from_original(read_state(data, file, NETWORK, COMMAND), file), file)


def load_torchvision(data: bytes, file: str) -> Raft:
    """The network from torchvision's `raft_large_C_T_V1-22a6c225.pth`.

    Raises:
        PluginError: it is no such file.
    """
    return Raft(read_state(data, file, NETWORK, COMMAND_TORCHVISION), file, COMMAND_TORCHVISION)
