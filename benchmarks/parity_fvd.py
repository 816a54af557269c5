"""fvd and kvd against other people's programs: the same random weights, the same windows of the same real clips.

Each row is one protocol, computed by vidbench and by a reference: the PyPI packages cd-fvd and torch-fidelity where
they have it, else a plain second implementation in this file on cd-fvd's network class (its epsilon set to the
protocol's), straight from the protocol's source. Limit: relative difference 1e-5; exit code 1 beyond.

Then CPU seconds of one thread, decoding included, of vidbench and of cd-fvd for the same value; each counts with its
fastest repeat. cd-fvd's own loader needs torchvision's video reader, which is gone, so PyAV decodes for it.

    pip install cd-fvd torch-fidelity
    python benchmarks/parity_fvd.py [--quick] [--clips ../shared/clips/fetv] [--oracles ../shared/oracles]

The weights are random: the network's true weights are not needed to see that two programs do the same sums. They are
made by `i3d_random_weights.py` in the oracles' folder.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import math
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import av
import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vidbench import weights
from vidbench.clips import Clip
from vidbench.metric import Observations
from vidbench.run.plan import make_extractor
from vidbench.video import ClipReader
from vidbench_metrics.extractors.i3d import I3DObservation
from vidbench_metrics.fvd import Fvd
from vidbench_metrics.i3d_protocols import PROTOCOLS
from vidbench_metrics.kvd import Kvd

LIMIT = 1e-5
WINDOW = 16

Pixels = NDArray[np.uint8]
Features = NDArray[np.float64]
Prepare = Callable[[torch.Tensor], torch.Tensor]
"""(T, 3, H, W) float32 of 0 to 255, to (T, 3, 224, 224) in [-1, 1]."""


def random_checkpoint(oracles: Path, folder: Path) -> Path:
    """The portable random weights as a PyTorch file, imported into a weights folder of our own."""
    spec = importlib.util.spec_from_file_location("i3d_random_weights", oracles / "i3d_random_weights.py")
    if spec is None or spec.loader is None:
        sys.exit(f"{oracles}/i3d_random_weights.py cannot be read")
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    path = folder / "random.pt"
    torch.save({key: torch.from_numpy(value) for key, value in oracle.random_state().items()}, path)
    os.environ["VIDBENCH_WEIGHTS"] = str(folder / "weights")
    weights.import_file(weights.find("i3d"), path, unpublished=True)
    return path


class Ours:
    """What a run of vidbench does, without its processes and files."""

    def __init__(self, protocol: str) -> None:
        self.fvd = Fvd.from_mapping({"protocol": protocol})
        self.kvd = Kvd.from_mapping({"protocol": protocol})
        self.extractor: Any = make_extractor(self.fvd.extractor_specs()[0])
        self.extractor.load()

    def observe(self, path: Path) -> Observations:
        """A clip's window through the network."""
        clip = Clip(id=path.name, path=path, model=path.parent.name)
        session = self.extractor.open(clip)
        with ClipReader(clip) as reader:
            for frames in reader:
                session.push(frames)
            return Observations({"i3d": session.close()}, reader.facts)

    def compare(self, metric: Fvd | Kvd, generated: Sequence[Observations], reference: Sequence[Observations]) -> float:
        """The metric's value."""
        states = []
        for seen in (generated, reference):
            state: Any = metric.new_state()
            for one in seen:
                state = metric.observe(state, one)
            states.append(state)
        value = metric.compare(*states).value
        if value is None:
            sys.exit(f"{metric.name} gave no value")
        return value


def window(path: Path, start: int) -> Pixels:
    """16 frames from `start`, decoded by PyAV alone."""
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames[start : start + WINDOW])


def start_of(seen: Observations) -> int:
    return int(seen.of("i3d", I3DObservation).starts[0])


def squash(x: torch.Tensor) -> torch.Tensor:
    """StyleGAN-V: rescale, then resize."""
    return functional.interpolate(2 * x / 255 - 1, (224, 224), mode="bilinear", align_corners=False)


def squash_tf1(x: torch.Tensor) -> torch.Tensor:
    """The original: `tf.image.resize_bilinear` of TensorFlow 1, then rescale; float64, by weight matrices."""

    def matrix(size: int) -> NDArray[np.float64]:
        weight = np.zeros((224, size))
        for i in range(224):
            at = i * size / 224
            low = math.floor(at)
            weight[i, low] += 1 - (at - low)
            weight[i, min(low + 1, size - 1)] += at - low
        return weight

    pixels = x.double().numpy()
    resized = matrix(x.shape[2]) @ pixels @ matrix(x.shape[3]).T
    return torch.from_numpy((2 * resized / 255 - 1).astype(np.float32))


def shorter_side_and_crop(x: torch.Tensor) -> torch.Tensor:
    """VideoGPT: to 0..1, shorter side to 224, centre, minus a half, times two."""
    height, width = x.shape[2:]
    scale = 224 / min(height, width)
    size = (224, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), 224)
    unit = functional.interpolate(x / 255, size=size, mode="bilinear", align_corners=False)
    top, left = (size[0] - 224) // 2, (size[1] - 224) // 2
    return (unit[:, :, top : top + 224, left : left + 224] - 0.5) * 2


PREPARE: dict[str, Prepare] = {
    "stylegan-v": squash,
    "tf": squash_tf1,
    "videogpt": shorter_side_and_crop,
    "fvd-comparison": squash,
}


def reference_network(checkpoint: Path, epsilon: float) -> Any:
    from cdfvd.third_party.i3d.pytorch_i3d import InceptionI3d

    network = InceptionI3d(400, in_channels=3)
    network.load_state_dict(torch.load(checkpoint, weights_only=True))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.eps = epsilon
    return network.eval()


def reference_features(network: Any, prepare: Prepare, windows: Sequence[Pixels]) -> Features:
    rows = []
    with torch.no_grad():
        for pixels in windows:
            frames = prepare(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
            rows.append(network(frames.transpose(0, 1)[None])[0].double().numpy())
    return np.stack(rows)


def sqrtm_distance(a: Features, b: Features, ddof: int) -> float:
    """As StyleGAN-V, fvd-comparison and the rest compute it: scipy's matrix square root of the product."""
    c, d = np.cov(a.T, ddof=ddof), np.cov(b.T, ddof=ddof)
    root = scipy.linalg.sqrtm(c @ d)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c + d) - 2 * np.trace(root).real)


def tfgan_distance(a: Features, b: Features) -> float:
    """tensorflow/gan bc369b7: two square roots by singular values, those below 1e-10 left alone; float64, n - 1."""

    def root(matrix: Features) -> Features:
        u, s, vt = np.linalg.svd(matrix)
        return np.asarray(u @ np.diag(np.where(s < 1e-10, s, np.sqrt(s))) @ vt)

    c, d = np.cov(a.T), np.cov(b.T)
    half = root(c)
    trace = np.trace(root(half @ d @ half))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c + d) - 2 * trace)


def theirs_cd_fvd(checkpoint: Path) -> Any:
    from cdfvd.fvd import cdfvd

    with contextlib.redirect_stdout(io.StringIO()):
        return cdfvd("i3d", ckpt_path=str(checkpoint), device="cpu", n_real="full", n_fake="full")


def theirs_kvd(a: Features, b: Features, estimator: str) -> float:
    from torch_fidelity.metric_kid import kernel_poly, mmd2

    settings: dict[str, Any] = {
        "kid_kernel_poly_degree": 3,
        "kid_kernel_poly_gamma": None,
        "kid_kernel_poly_coef0": 1,
    }
    kernels = (kernel_poly(x, y, **settings) for x, y in ((a, a), (a, b), (b, b)))
    return float(mmd2(*kernels, mmd_est=estimator))


def row(name: str, against: str, ours: float, theirs: float) -> bool:
    difference = abs(ours - theirs) / abs(theirs)
    ok = difference <= LIMIT
    print(f"{name:<22}{against:<58}{ours:>20.10g}{theirs:>20.10g}{difference:>10.1e}  {'ok' if ok else 'FAILED'}")
    return ok


def protocol_rows(protocol: str, checkpoint: Path, sets: tuple[list[Path], list[Path]]) -> list[bool]:
    ours = Ours(protocol)
    generated, reference = ([ours.observe(path) for path in paths] for paths in sets)
    value = ours.compare(ours.fvd, generated, reference)
    windows = [
        [window(path, start_of(one)) for path, one in zip(paths, seen, strict=True)]
        for paths, seen in zip(sets, (generated, reference), strict=True)
    ]
    facts = PROTOCOLS[protocol]
    if protocol == "cd-fvd":
        real, fake = (np.stack(part) for part in (windows[1], windows[0]))
        package = f"cd-fvd {metadata.version('cd-fvd')} compute_fvd"
        return [row(f"fvd {protocol}", package, value, float(theirs_cd_fvd(checkpoint).compute_fvd(real, fake)))]
    network = reference_network(checkpoint, facts.epsilon)
    a, b = (reference_features(network, PREPARE[protocol], part) for part in windows)
    how = f"cd-fvd {metadata.version('cd-fvd')} network, epsilon {facts.epsilon:g}; own "
    if protocol == "tf":
        return [row(f"fvd {protocol}", how + "resize, tfgan trace", value, tfgan_distance(a, b))]
    done = [row(f"fvd {protocol}", how + f"resize, sqrtm ddof {facts.ddof}", value, sqrtm_distance(a, b, facts.ddof))]
    if protocol == "stylegan-v":
        fidelity = f"torch-fidelity {metadata.version('torch-fidelity')} kernel and mmd2 on that network"
        for estimator in ("unbiased", "biased"):
            metric = Kvd.from_mapping({"protocol": protocol, "estimator": estimator})
            ours_kvd = ours.compare(metric, generated, reference)
            done.append(row(f"kvd {estimator}", fidelity, ours_kvd, theirs_kvd(a, b, estimator)))
    return done


def cost(checkpoint: Path, sets: tuple[list[Path], list[Path]], repeats: int) -> None:
    ours = Ours("cd-fvd")
    starts = [[start_of(ours.observe(path)) for path in paths] for paths in sets]  # warms up, too
    warm = np.zeros((1, WINDOW, 64, 64, 3), np.uint8)
    theirs_cd_fvd(checkpoint).compute_fvd(warm, warm)
    best: dict[str, float] = {}
    for _ in range(repeats):
        began = time.process_time()
        seen = [[ours.observe(path) for path in paths] for paths in sets]
        ours.compare(ours.fvd, *seen)
        best["vidbench"] = min(best.get("vidbench", math.inf), time.process_time() - began)
        program = theirs_cd_fvd(checkpoint)
        began = time.process_time()
        fake, real = (
            np.stack([window(path, start) for path, start in zip(paths, at, strict=True)])
            for paths, at in zip(sets, starts, strict=True)
        )
        program.compute_fvd(real, fake)
        best["cd-fvd"] = min(best.get("cd-fvd", math.inf), time.process_time() - began)
    clips = sum(map(len, sets))
    print(f"\nCPU seconds for {clips} clips of {WINDOW} frames, decoding included, one thread, fastest of {repeats}:")
    for name, seconds in best.items():
        print(f"  {name:<10}{seconds:8.2f}  ({seconds / clips:.3f} a clip)")
    print(f"  vidbench is {best['cd-fvd'] / best['vidbench']:.2f} times as fast")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=Path("../shared/clips/fetv"))
    parser.add_argument("--oracles", type=Path, default=Path("../shared/oracles"))
    parser.add_argument("--model", default="zeroscope", help="frames of 288x160 tell squash from crop")
    parser.add_argument("--quick", action="store_true", help="three clips a set; not for publishing")
    arguments = parser.parse_args()
    missing = [name for name in ("cdfvd", "torch_fidelity") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"{', '.join(missing)} not installed: pip install cd-fvd torch-fidelity", file=sys.stderr)
        return 2
    warnings.filterwarnings("ignore")  # cd-fvd's sqrtm(disp=) is deprecated and warns of singular matrices
    torch.set_num_threads(1)
    names = (arguments.model, "ground-truth")
    generated, reference = (sorted((arguments.clips / name).glob("*.mp4")) for name in names)
    if not generated or not reference:
        print(f"{arguments.clips} has no clips of {' and '.join(names)}", file=sys.stderr)
        return 2
    sets = (generated[:3], reference[:3]) if arguments.quick else (generated, reference)
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    )
    print(f"{len(sets[0])} clips of {names[0]} against {len(sets[1])} of {names[1]}; random weights")
    if arguments.quick:
        print("quick: not for publishing")
    print(f"\n{'':<22}{'against':<58}{'vidbench':>20}{'theirs':>20}{'relative':>10}")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = random_checkpoint(arguments.oracles, Path(folder))
        done = [ok for protocol in PROTOCOLS for ok in protocol_rows(protocol, checkpoint, sets)]
        cost(checkpoint, sets, repeats=1 if arguments.quick else 2)
    print(f"\n{sum(done)} of {len(done)} rows within {LIMIT:g}")
    return 0 if all(done) else 1


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":  # read when numpy and torch are imported, so begin again
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **threads})  # noqa: S606  # ourselves
    sys.exit(main())
