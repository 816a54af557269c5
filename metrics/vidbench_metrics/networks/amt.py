"""AMT-S, which draws the frame between two frames; loads `amt-s.pth` by its own keys.

Li et al., "AMT: All-Pairs Multi-Field Transforms for Efficient Frame Interpolation", CVPR 2023 (arXiv 2304.09790).
Numbers must match `networks/AMT-S.py` of MCG-NKU/AMT as VBench carries it (vbench 0.1.5, third_party/amt; the code is
CC BY-NC 4.0 and is not copied; so are the weights). Time is always the middle, and pictures are never rescaled, as
VBench does on a processor.

Features of both frames are compared place by place, both ways, in four sizes. Flows from the middle to either frame are
guessed coarsely, then refined three times: each decoder doubles their size, each update corrects them by looking the
comparisons up where they point. The last decoder gives three pairs of flows, whose pictures are merged.

Axes: n pictures, c channels, h and w pixels, q places (an eighth of the picture's size).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vidbench_metrics.networks.checkpoint import checked, read_state

if TYPE_CHECKING:
    from torch import Tensor

NETWORK = "AMT-S"
COMMAND = "vidbench weights fetch amt-s"
CHANNELS = (20, 32, 44, 56)
"""Of the picture's features at a half, quarter, eighth and sixteenth of its size."""
SKIP = 20
"""Channels that a residual block treats apart."""
FLOWS = 3
FEATURES = 84
LEVELS = 4
RADIUS = 3
HIDDEN = 76
SMALLEST_SIDE = 113
"""Pixels, which are padded to 128: the coarsest of four halvings must keep two places."""
MOST_CELLS = 16_000
"""Places of an eighth of the picture's size: each is compared with each, 2.2 GB were measured for 1280x720."""
MULTIPLE = 16
SLOPE = 0.1


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Key to shape of the checkpoint's tensors."""
    convolutions: dict[str, tuple[int, ...]] = {"feat_encoder.conv1": (32, 3, 7, 7)}
    prelus: dict[str, int] = {}
    into = 32
    for number, out in enumerate((32, 64, 96), 1):
        for block in range(2):
            layer, quarter = f"feat_encoder.layer{number}.{block}", out // 4
            convolutions |= {
                f"{layer}.conv1": (quarter, into, 1, 1),
                f"{layer}.conv2": (quarter, quarter, 3, 3),
                f"{layer}.conv3": (out, quarter, 1, 1),
            }
            if block == 0 and number > 1:
                convolutions[f"{layer}.downsample.0"] = (out, into, 1, 1)
            into = out
    convolutions["feat_encoder.conv2"] = (FEATURES, 96, 1, 1)
    into = 3
    for number, out in enumerate(CHANNELS, 1):
        for half, before in enumerate((into, out)):
            convolutions[f"encoder.pyramid{number}.{half}.0"] = (out, before, 3, 3)
            prelus[f"encoder.pyramid{number}.{half}.1"] = out
        into = out
    transposed: dict[str, tuple[int, ...]] = {}
    for number, (inside, given, out) in _decoders().items():
        prefix = f"decoder{number}.convblock"
        convolutions[f"{prefix}.0.0"] = (inside, given, 3, 3)
        for step in range(1, 5):
            wide = SKIP if step in (2, 4) else inside
            convolutions[f"{prefix}.1.conv{step}.0"] = (wide, wide, 3, 3)
            prelus[f"{prefix}.1.conv{step}.1"] = wide
        convolutions[f"{prefix}.1.conv5"] = (inside, inside, 3, 3)
        prelus |= {f"{prefix}.0.1": inside, f"{prefix}.1.prelu": inside}
        transposed[f"{prefix}.2"] = (inside, out, 4, 4)
    for number, out in ((4, CHANNELS[2]), (3, CHANNELS[1]), (2, CHANNELS[0])):
        convolutions |= {
            f"update{number}.convc1": (64, 2 * LEVELS * (2 * RADIUS + 1) ** 2, 1, 1),
            f"update{number}.convf1": (40, 4, 7, 7),
            f"update{number}.convf2": (20, 40, 3, 3),
            f"update{number}.conv": (68, 84, 3, 3),
            f"update{number}.gru.0": (HIDDEN, 68 + 4 + out, 3, 3),
            f"update{number}.gru.2": (HIDDEN, HIDDEN, 3, 3),
            f"update{number}.feat_head.0": (HIDDEN, HIDDEN, 3, 3),
            f"update{number}.feat_head.2": (out, HIDDEN, 3, 3),
            f"update{number}.flow_head.0": (HIDDEN, HIDDEN, 3, 3),
            f"update{number}.flow_head.2": (4, HIDDEN, 3, 3),
        }
    convolutions |= {"comb_block.0": (6 * FLOWS, 3 * FLOWS, 3, 3), "comb_block.2": (3, 6 * FLOWS, 3, 3)}
    prelus["comb_block.1"] = 6 * FLOWS
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (channels,) for name, channels in prelus.items()}
    for name, shape in convolutions.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name, shape in transposed.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[1:2]}
    return shapes


def _decoders() -> dict[int, tuple[int, int, int]]:
    """Decoder to its channels: inside, given, out."""
    c1, c2, c3, c4 = CHANNELS
    return {
        4: (2 * c4, 2 * c4 + 1, c3 + 4),
        3: (3 * c3, 3 * c3 + 4, c2 + 4),
        2: (3 * c2, 3 * c2 + 4, c1 + 4),
        1: (3 * c1, 3 * c1 + 4, 8 * FLOWS),
    }


class Amt:
    """The network.

    Args:
        state: the checkpoint's tensors by key.
        file: where the tensors come from, for messages.

    Raises:
        PluginError: a tensor is missing, unknown, of another shape or not finite; says which.
    """

    def __init__(self, state: Mapping[str, Any], file: str = "the checkpoint") -> None:
        self._state = checked(state, tensor_shapes(), file, NETWORK, COMMAND)

    def __call__(self, before: Tensor, after: Tensor) -> Tensor:
        """The frame in the middle.

        Args:
            before: (3, H, W) float32 RGB in [0, 1], sides of at least `SMALLEST_SIDE`.
            after: the same of the other frame.

        Returns:
            (3, H, W) in [0, 1].
        """
        import torch
        from torch.nn import functional

        height, width = before.shape[1:]
        (top, bottom), (left, right) = padding(height), padding(width)
        with torch.inference_mode():
            pad = (left, right, top, bottom)
            first, second = (functional.pad(x[None], pad, mode="replicate") for x in (before, after))
            middle = self._middle(first, second)[0]
        return middle[:, top : top + height, left : left + width]

    def _middle(self, first: Tensor, second: Tensor) -> Tensor:
        import torch

        mean = torch.cat([first, second], 2).mean(1, keepdim=True).mean(2, keepdim=True).mean(3, keepdim=True)
        first, second = first - mean, second - mean
        both = torch.cat([first, second])
        costs = Comparisons(*self._compared(both).chunk(2))
        levels = [features.chunk(2) for features in self._pyramid(both)]
        rows, columns = costs.rows, costs.columns
        half = torch.full((1, 1, *levels[3][0].shape[2:]), 0.5)

        given = self._decode(4, torch.cat([*levels[3], half], 1))
        flows, hidden = given[:, :4], given[:, 4:]
        for level, number in ((2, 4), (1, 3), (0, 2)):  # flows have the size of this level
            factor = 2 ** (2 - level)
            coarse = resized(flows, 1 / factor) / factor if factor > 1 else flows
            # A flow from the middle to one end is half of the flow between both ends.
            looked_up = costs.look_up(coarse[:, 2:] * 2.0, coarse[:, :2] * 2.0, rows, columns)
            change_hidden, change_flows = self._update(number, hidden, coarse, looked_up, factor)
            flows, hidden = flows + change_flows, hidden + change_hidden
            one, other = levels[level]
            parts = [hidden, warped(one, flows[:, :2]), warped(other, flows[:, 2:]), flows]
            given = self._decode(number - 1, torch.cat(parts, 1))
            if level > 0:
                flows, hidden = given[:, :4] + 2.0 * resized(flows, 2.0), given[:, 4:]
        return self._merge(first, second, mean, flows, given)

    def _merge(self, first: Tensor, second: Tensor, mean: Tensor, flows: Tensor, given: Tensor) -> Tensor:
        """Three pictures, each of both frames moved by its own flows, and their merger."""
        import torch

        to_first, to_second, mask, rest = given.split([2 * FLOWS, 2 * FLOWS, FLOWS, 3 * FLOWS], 1)
        larger = 2.0 * resized(flows, 2.0)
        to_first = to_first + larger[:, :2].repeat(1, FLOWS, 1, 1)
        to_second = to_second + larger[:, 2:].repeat(1, FLOWS, 1, 1)
        height, width = first.shape[2:]

        def each(x: Tensor, channels: int) -> Tensor:
            return x.reshape(FLOWS, channels, height, width)

        share = each(mask.sigmoid(), 1)
        one = warped(first.expand(FLOWS, -1, -1, -1), each(to_first, 2))
        other = warped(second.expand(FLOWS, -1, -1, -1), each(to_second, 2))
        pictures = share * one + (1 - share) * other + mean + each(rest, 3)
        combined = self._prelu("comb_block.1", self._convolve("comb_block.0", pictures.reshape(1, -1, height, width)))
        return torch.clamp(pictures.mean(0, keepdim=True) + self._convolve("comb_block.2", combined), 0, 1)

    def _compared(self, x: Tensor) -> Tensor:
        """Features that are compared, (n, 84, h / 8, w / 8)."""
        from torch.nn import functional

        def unit(name: str, x: Tensor, stride: int = 1) -> Tensor:
            return functional.instance_norm(self._convolve(name, x, stride), eps=1e-5)

        x = functional.relu(unit("feat_encoder.conv1", x, 2))
        for number in (1, 2, 3):
            for block in (0, 1):
                layer, stride = f"feat_encoder.layer{number}.{block}", 2 if number > 1 and block == 0 else 1
                y = functional.relu(unit(f"{layer}.conv1", x))
                y = functional.relu(unit(f"{layer}.conv2", y, stride))
                y = functional.relu(unit(f"{layer}.conv3", y))
                shortcut = unit(f"{layer}.downsample.0", x, stride) if stride > 1 else x
                x = functional.relu(shortcut + y)
        return self._convolve("feat_encoder.conv2", x)

    def _pyramid(self, x: Tensor) -> list[Tensor]:
        """Features that are moved, at a half, quarter, eighth and sixteenth of the size."""
        levels = []
        for number in range(1, len(CHANNELS) + 1):
            for half, stride in ((0, 2), (1, 1)):
                name = f"encoder.pyramid{number}.{half}"
                x = self._prelu(f"{name}.1", self._convolve(f"{name}.0", x, stride))
            levels.append(x)
        return levels

    def _decode(self, number: int, x: Tensor) -> Tensor:
        import torch
        from torch.nn import functional

        block = f"decoder{number}.convblock"
        x = self._prelu(f"{block}.0.1", self._convolve(f"{block}.0.0", x))
        y = x
        for step in (1, 3):
            name = f"{block}.1.conv{step}"
            y = self._prelu(f"{name}.1", self._convolve(f"{name}.0", y))
            name = f"{block}.1.conv{step + 1}"
            side = self._prelu(f"{name}.1", self._convolve(f"{name}.0", y[:, -SKIP:]))
            y = torch.cat([y[:, :-SKIP], side], 1)
        x = self._prelu(f"{block}.1.prelu", x + self._convolve(f"{block}.1.conv5", y))
        weight, bias = self._state[f"{block}.2.weight"], self._state[f"{block}.2.bias"]
        return functional.conv_transpose2d(x, weight, bias, stride=2, padding=1)

    def _update(
        self, number: int, hidden: Tensor, flows: Tensor, looked_up: Tensor, factor: int
    ) -> tuple[Tensor, Tensor]:
        """Corrections of hidden features and flows, in the size of the hidden features."""
        import torch
        from torch.nn import functional

        def leaky(name: str, x: Tensor) -> Tensor:
            return functional.leaky_relu(self._convolve(f"update{number}.{name}", x), SLOPE)

        small = resized(hidden, 1 / factor) if factor > 1 else hidden
        x = torch.cat([leaky("convc1", looked_up), leaky("convf2", leaky("convf1", flows))], 1)
        x = torch.cat([leaky("conv", x), flows, small], 1)
        x = self._convolve(f"update{number}.gru.2", leaky("gru.0", x))
        change_hidden = self._convolve(f"update{number}.feat_head.2", leaky("feat_head.0", x))
        change_flows = self._convolve(f"update{number}.flow_head.2", leaky("flow_head.0", x))
        if factor > 1:
            change_hidden, change_flows = resized(change_hidden, factor), factor * resized(change_flows, factor)
        return change_hidden, change_flows

    def _convolve(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        from torch.nn import functional

        weight = self._state[f"{name}.weight"]
        return functional.conv2d(x, weight, self._state[f"{name}.bias"], stride, weight.shape[-1] // 2)

    def _prelu(self, name: str, x: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.prelu(x, self._state[f"{name}.weight"])


class Comparisons:
    """How alike every place of one frame is to every place of the other, both ways, in four sizes.

    Args:
        first: (1, c, h, w) features.
        second: the same of the other frame.
    """

    def __init__(self, first: Tensor, second: Tensor) -> None:
        from torch.nn import functional

        _, channels, self.rows, self.columns = first.shape
        ours, theirs = first.reshape(channels, -1), second.reshape(channels, -1)
        table = (ours.T @ theirs) / channels**0.5  # (q of the first, q of the second)
        self._pyramids: list[list[Tensor]] = []
        for one in (table, table.T):
            level = one.reshape(-1, 1, self.rows, self.columns)
            pyramid = [level]
            for _ in range(LEVELS - 1):
                level = functional.avg_pool2d(level, 2, stride=2)
                pyramid.append(level)
            self._pyramids.append(pyramid)

    def look_up(self, forwards: Tensor, backwards: Tensor, rows: int, columns: int) -> Tensor:
        """The comparisons around where each place points, in squares of 7 x 7 of every size.

        Args:
            forwards: (1, 2, h, w) flow in places, from each place of the first frame to the second.
            backwards: the same from the second to the first.
            rows: h.
            columns: w.

        Returns:
            (1, 2 · 4 · 49, h, w).
        """
        import torch

        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        places = torch.stack([x, y])[None].float()
        steps = torch.arange(-RADIUS, RADIUS + 1).float()
        # The first axis of the square steps along x: AMT, as RAFT before it, means the transpose.
        square = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)[None]
        found = []
        for pyramid, flow in zip(self._pyramids, (forwards, backwards), strict=True):
            at = (places + flow).permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
            found += [
                sampled(level, at / 2**number + square).reshape(1, rows, columns, -1)
                for number, level in enumerate(pyramid)
            ]
        return torch.cat(found, dim=-1).permute(0, 3, 1, 2).contiguous()


def sampled(x: Tensor, at: Tensor) -> Tensor:
    """(q, 1, h, w) read bilinearly at (q, a, b, 2) places, x before y; zeros outside."""
    import torch
    from torch.nn import functional

    height, width = x.shape[-2:]
    grid = torch.stack([2 * at[..., 0] / (width - 1) - 1, 2 * at[..., 1] / (height - 1) - 1], dim=-1)
    return functional.grid_sample(x, grid, align_corners=True)


def warped(x: Tensor, flow: Tensor) -> Tensor:
    """(n, c, h, w) read bilinearly where an (n, 2, h, w) flow in pixels points; the border goes on outside."""
    import torch
    from torch.nn import functional

    height, width = flow.shape[-2:]
    columns = torch.linspace(-1.0, 1.0, width)[None, None] + flow[:, 0] / ((width - 1.0) / 2.0)
    rows = torch.linspace(-1.0, 1.0, height)[None, :, None] + flow[:, 1] / ((height - 1.0) / 2.0)
    grid = torch.stack([columns, rows], dim=-1)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)


def resized(x: Tensor, factor: float) -> Tensor:
    """(n, c, h, w) bilinearly at `factor` times its size."""
    from torch.nn import functional

    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def padding(side: int) -> tuple[int, int]:
    """Pixels before and after a side so that 16 divides it; the smaller half before."""
    total = -side % MULTIPLE
    return total // 2, total - total // 2


def unfit(height: int, width: int) -> str:
    """Why a picture of this size cannot be looked at; empty if it can."""
    if min(height, width) < SMALLEST_SIDE:
        return f"the picture is {width}x{height} pixels; AMT-S needs {SMALLEST_SIDE} a side"
    if -(-height // MULTIPLE) * -(-width // MULTIPLE) * 4 > MOST_CELLS:
        return (
            f"the picture is {width}x{height} pixels; AMT-S compares every place with every other, which takes too "
            f"much memory beyond {MOST_CELLS * 64:,} pixels: scale the clip down"
        )
    return ""


def load_checkpoint(data: bytes, file: str) -> Amt:
    """The network from the bytes of `amt-s.pth`.

    Raises:
        PluginError: it is no such checkpoint.
    """
    return Amt(read_state(data, file, NETWORK, COMMAND, key="state_dict"), file)
