"""Do our networks of VBench's dimensions give what the networks that VBench uses give, with the same random weights?

    pip download --no-deps vbench==0.1.5 pyiqa==0.1.16
    python -m benchmarks.parity_vbench vbench-0.1.5-py3-none-any.whl pyiqa-0.1.16-py3-none-any.whl

Both packages want what we do not have (numpy < 2, transformers), so they are not installed: the few modules that hold
the networks are imported out of the wheels. Prints, for each network, whether keys and shapes are equal, the largest
difference, and values that the tests carry as golden. DINO is not in VBench's package: see
tests/metrics/test_subject_consistency.py.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
import warnings
from typing import Any

import numpy as np

from tests.conftest import VBENCH_GAINS, portable_tensors

PACKAGES = {
    "vbench": (
        "vbench",
        "vbench.third_party",
        "vbench.third_party.amt",
        "vbench.third_party.amt.networks",
        "vbench.third_party.amt.networks.blocks",
        "vbench.third_party.amt.utils",
        "vbench.third_party.RAFT",
        "vbench.third_party.RAFT.core",
        "vbench.third_party.RAFT.core.utils_core",
    ),
    "pyiqa": ("pyiqa", "pyiqa.archs", "pyiqa.data", "pyiqa.utils", "pyiqa.matlab_utils"),
}


def bare_packages(wheel: str, names: tuple[str, ...]) -> None:
    """Make packages importable out of a wheel without running what their `__init__` imports."""
    sys.path.insert(0, wheel)
    for name in names:
        package = types.ModuleType(name)
        package.__path__ = [f"{wheel}/{name.replace('.', '/')}"]
        sys.modules[name] = package


def pictures(height: int = 150, width: int = 200) -> tuple[Any, Any]:
    """Two overlapping cuts of a smooth random picture, (3, H, W) float32 whole numbers from 0 to 255."""
    import torch

    noise = np.random.default_rng(1).uniform(40, 215, (12, 16, 3))
    rows, columns = np.linspace(0, 10, height + 20), np.linspace(0, 14, width + 20)
    low, left = rows.astype(int), columns.astype(int)
    y, x = (rows - low)[:, None, None], (columns - left)[None, :, None]
    whole = (1 - y) * ((1 - x) * noise[low][:, left] + x * noise[low][:, left + 1]) + y * (
        (1 - x) * noise[low + 1][:, left] + x * noise[low + 1][:, left + 1]
    )
    cuts = whole[:height, :width], whole[5 : 5 + height, 7 : 7 + width]
    one, other = (torch.from_numpy(cut.round().astype(np.float32)).permute(2, 0, 1).contiguous() for cut in cuts)
    return one, other


def tensors(name: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Random weights of a network."""
    import torch

    return {k: torch.from_numpy(v) for k, v in portable_tensors(shapes, gain=VBENCH_GAINS[name]).items()}


def shapes_of(network: Any) -> dict[str, tuple[int, ...]]:
    """Key to shape of a module, without counters."""
    return {k: tuple(v.shape) for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}


def told(name: str, theirs: Any, ours: Any, golden: list[float]) -> None:
    """Print what came out."""
    difference, size = float((theirs - ours).abs().max()), float(theirs.abs().max())
    print(f"{name}: largest difference {difference:.3g} of {size:.4g}; golden {[round(x, 6) for x in golden]}")


def check_amt() -> None:
    """AMT-S in the middle of two pictures."""
    import torch
    from torch.nn import functional

    from vidbench_metrics.networks import amt

    network = importlib.import_module("vbench.third_party.amt.networks.AMT-S").Model().eval()
    print(
        f"amt-s: {len(shapes_of(network))} tensors, keys and shapes equal: {shapes_of(network) == amt.tensor_shapes()}"
    )
    state = tensors("amt-s", amt.tensor_shapes())
    network.load_state_dict(state)
    one, other = (x / 255.0 for x in pictures())
    pad = (4, 4, 5, 5)  # 150 x 200 to 160 x 208
    with torch.no_grad():
        padded = (functional.pad(x[None], pad, mode="replicate") for x in (one, other))
        drawn = network(*padded, torch.full((1, 1, 1, 1), 0.5), scale_factor=1.0, eval=True)["imgt_pred"]
    theirs = drawn[0, :, 5:-5, 4:-4]
    golden = [float(theirs[c, y, x]) for c, y, x in ((0, 10, 10), (1, 75, 100), (2, 140, 190))]
    told("amt-s", theirs, amt.Amt(state)(one, other), [*golden, float(theirs.mean())])


def check_raft() -> None:
    """RAFT's flow from one picture to the other, 20 iterations."""
    import torch

    from vidbench_metrics.networks import raft

    class Arguments(dict[str, Any]):
        __getattr__ = dict.__getitem__
        __setattr__ = dict.__setitem__

    their_raft = importlib.import_module("vbench.third_party.RAFT.core.raft").RAFT
    padder = importlib.import_module("vbench.third_party.RAFT.core.utils_core.utils").InputPadder
    network = their_raft(Arguments(small=False, mixed_precision=False, alternate_corr=False)).eval()
    shapes = {raft.original_name(key): shape for key, shape in raft.tensor_shapes().items()}
    own = shapes_of(network)
    extra = sorted(set(own) - set(shapes))
    same = {key: own.get(key) for key in shapes} == shapes
    print(f"raft: {len(own)} tensors, those of ours equal: {same}, beyond ours: {', '.join(extra)}")
    state = tensors("raft", shapes)
    state |= {key: state[key.replace("norm3", "downsample.1")] for key in extra}
    network.load_state_dict(state, strict=False)
    one, other = pictures()
    with torch.no_grad():
        _, flow = network(*padder(one[None].shape).pad(one[None], other[None]), iters=20, test_mode=True)
    ours = raft.Raft(raft.from_original({f"module.{key}": value for key, value in state.items()}))
    found, _ = ours(ours.features(one), ours.features(other), 20)
    golden = [float(flow[0, c, y, x]) for c, y, x in ((0, 10, 10), (1, 75, 100), (0, 140, 190))]
    told("raft", flow[0], found, [*golden, float(flow.mean())])


def check_musiq() -> None:
    """MUSIQ's rating of pictures of several sizes, at its published size and at that of the tests."""
    import torch

    from vidbench_metrics.networks import musiq

    padding = importlib.import_module("pyiqa.matlab_utils.padding")
    for name in ("ExactPadding2d", "exact_padding_2d"):
        setattr(sys.modules["pyiqa.matlab_utils"], name, getattr(padding, name))
    their_musiq = importlib.import_module("pyiqa.archs.musiq_arch").MUSIQ
    for size in (musiq.PUBLISHED, musiq.MusiqSize(width=48, depth=2, heads=6, hidden=96)):
        network = their_musiq(
            hidden_size=size.width,
            mlp_dim=size.hidden,
            num_heads=size.heads,
            num_layers=size.depth,
            pretrained=False,
        ).eval()
        shapes = musiq.tensor_shapes(size)
        print(f"musiq {size}: {len(shapes)} tensors, keys and shapes equal: {shapes_of(network) == shapes}")
        state = tensors("musiq-spaq", shapes)
        network.load_state_dict(state)
        ours = musiq.Musiq(state, size)
        for height, width in ((150, 200), (72, 96), (288, 512), (47, 333)):
            picture = pictures(height, width)[0] / 255.0
            with torch.no_grad():
                theirs = network(picture[None])[0]
            told(f"  {width}x{height}", theirs, torch.tensor([ours(picture)]), [float(theirs)])


def main() -> None:
    """Check everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vbench", help="wheel of vbench 0.1.5, or the folder it was unpacked into")
    parser.add_argument("pyiqa", help="wheel of pyiqa 0.1.16, or the folder it was unpacked into")
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # of theirs
    import torch

    torch.set_num_threads(1)
    for name, packages in PACKAGES.items():
        bare_packages(getattr(given, name), packages)
    check_amt()
    check_raft()
    check_musiq()


if __name__ == "__main__":
    main()
