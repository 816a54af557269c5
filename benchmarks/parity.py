"""Distances and full-reference metrics against other people's programs: same weights, same windows, same real clips.

Each row names the package, with its version, that the number is held against. Where a package has no such function, a
plain second implementation in this file stands in, on the package's network or features, straight from the protocol's
source; the row says `own`. Limit: relative difference 1e-5; exit code 1 where any row misses it.

Then CPU seconds of one thread, decoding included, of vidbench and of cd-fvd for the same FVD; each counts with its
fastest repeat. cd-fvd's own loader needs torchvision's video reader, which is gone, so PyAV decodes for it.

    pip install 'vidbench[models,parity]'
    pip install --no-deps videojedi vjepa==0.1.2      # they pin old packages; without them scikit-learn stands in
    python benchmarks/parity.py [--quick] [--only fvd,fid] [--clips ../shared/clips/fetv] [--oracles ../shared/oracles]

Weights are random: a network's true weights are not needed to see that two programs do the same sums, and the large
transformers are small ones of the same make. I3D's are made by `i3d_random_weights.py` in the oracles' folder.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
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
from vidbench.metric import Observations, SetMetric
from vidbench.run.plan import make_extractor
from vidbench.testing import score
from vidbench.video import ClipReader
from vidbench_metrics import inception_network, prdc
from vidbench_metrics import video_transformer as vt
from vidbench_metrics.cmmd import SCALE, gaussian_mmd, normalised
from vidbench_metrics.extractors.i3d import I3DObservation
from vidbench_metrics.extractors.inception import InceptionObservation
from vidbench_metrics.extractors.videomae import VideoMaeObservation
from vidbench_metrics.extractors.vjepa import VJepaObservation
from vidbench_metrics.fid import Fid
from vidbench_metrics.fvd import Fvd
from vidbench_metrics.fvd_videomae import FvdVideoMae
from vidbench_metrics.i3d_protocols import PROTOCOLS
from vidbench_metrics.jedi import Jedi, jedi_distance
from vidbench_metrics.kvd import Kvd
from vidbench_metrics.psnr import Psnr
from vidbench_metrics.ssim import Ssim

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

    def __init__(self, metric: SetMetric[Any, Any]) -> None:
        self.metric = metric
        self.extractor: Any = make_extractor(metric.extractor_specs()[0])
        self.extractor.load()

    def observe(self, path: Path) -> Observations:
        """A clip through the network."""
        clip = Clip(id=path.name, path=path, model=path.parent.name)
        session = self.extractor.open(clip)
        with ClipReader(clip) as reader:
            for frames in reader:
                session.push(frames)
            return Observations({self.extractor.name: session.close()}, reader.facts)

    def compare(
        self, generated: Sequence[Observations], reference: Sequence[Observations], metric: Any = None
    ) -> float:
        """The value of the metric, or of another one that reads the same observations."""
        metric = metric or self.metric
        states = []
        for seen in (generated, reference):
            state: Any = metric.new_state()
            for one in seen:
                state = metric.observe(state, one)
            states.append(state)
        value = metric.compare(*states).value
        if value is None:
            sys.exit(f"{metric.name} gave no value")
        return float(value)


def window(path: Path, start: int) -> Pixels:
    """16 frames from `start`, decoded by PyAV alone."""
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(frames[start : start + WINDOW])


def frames_of(path: Path, numbers: Sequence[int]) -> Pixels:
    """Single frames, decoded by PyAV alone."""
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack([frames[number] for number in numbers])


def start_of(seen: Observations) -> int:
    one = next(iter(seen.values()))
    if not isinstance(one, I3DObservation | VideoMaeObservation | VJepaObservation):
        sys.exit(f"a {type(one).__name__} has no windows")
    return int(one.starts[0])


def random_tensors(shapes: Any, seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors of sizes that let signals through."""
    rng = np.random.default_rng(seed)
    state = {}
    for key, shape in shapes.items():
        if len(shape) > 1:
            value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif key.endswith("running_var"):
            value = rng.uniform(0.5, 2, shape)
        elif key.endswith("weight"):
            value = np.ones(shape)
        else:
            value = 0.1 * rng.standard_normal(shape)
        state[key] = torch.from_numpy(np.asarray(value, np.float32))
    return state


def imported(name: str, content: Any, folder: Path) -> Path:
    """A weight file of random tensors in our own weights folder; what other packages are to read."""
    path = folder / f"{name}.pt"
    torch.save(content, path)
    weights.import_file(weights.find(name), path, unpublished=True)
    return path


def package(name: str) -> str:
    return f"{name} {metadata.version(name)}"


def has(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


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
    difference = abs(ours - theirs) / abs(theirs) if theirs else abs(ours - theirs)
    ok = difference <= LIMIT
    print(f"{name:<60}{against:<66}{ours:>18.10g}{theirs:>18.10g}{difference:>10.1e}  {'ok' if ok else 'FAILED'}")
    return ok


Sets = tuple[list[Path], list[Path]]


def observed(ours: Ours, sets: Sets) -> tuple[list[Observations], list[Observations]]:
    generated, reference = ([ours.observe(path) for path in paths] for paths in sets)
    return generated, reference


def windows_of(sets: Sets, seen: tuple[list[Observations], list[Observations]]) -> list[list[Pixels]]:
    return [
        [window(path, start_of(one)) for path, one in zip(paths, observations, strict=True)]
        for paths, observations in zip(sets, seen, strict=True)
    ]


def fvd_rows(protocol: str, checkpoint: Path, sets: Sets) -> list[bool]:
    ours = Ours(Fvd.from_mapping({"protocol": protocol}))
    seen = observed(ours, sets)
    value = ours.compare(*seen)
    windows = windows_of(sets, seen)
    facts = PROTOCOLS[protocol]
    if protocol == "cd-fvd":
        real, fake = (np.stack(part) for part in (windows[1], windows[0]))
        return [
            row(
                f"fvd {protocol}",
                f"{package('cd-fvd')} compute_fvd",
                value,
                float(theirs_cd_fvd(checkpoint).compute_fvd(real, fake)),
            )
        ]
    network = reference_network(checkpoint, facts.epsilon)
    a, b = (reference_features(network, PREPARE[protocol], part) for part in windows)
    how = f"{package('cd-fvd')} network, epsilon {facts.epsilon:g}; own "
    if protocol == "tf":
        return [row(f"fvd {protocol}", how + "resize, tfgan trace", value, tfgan_distance(a, b))]
    done = [row(f"fvd {protocol}", how + f"resize, sqrtm ddof {facts.ddof}", value, sqrtm_distance(a, b, facts.ddof))]
    if protocol == "stylegan-v":
        fidelity = f"{package('torch-fidelity')} kid kernel and mmd2 on that network"
        for estimator in ("unbiased", "biased"):
            metric = Kvd.from_mapping({"protocol": protocol, "estimator": estimator})
            done.append(
                row(f"kvd {estimator}", fidelity, ours.compare(seen[0], seen[1], metric), theirs_kvd(a, b, estimator))
            )
        done += prdc_rows(ours, seen, a, b)
    return done


def prdc_rows(ours: Ours, seen: Any, a: Features, b: Features) -> list[bool]:
    """Our features through ours, the reference network's through theirs; and clouds for which no value is trivial."""
    from prdc import compute_prdc

    kinds = {"precision": prdc.Precision, "recall": prdc.Recall, "density": prdc.Density, "coverage": prdc.Coverage}
    done, nearest = [], 1  # --quick has three clips
    rng = np.random.default_rng(0)
    clouds = [np.asarray(rng.normal(size=(300, 16)) + shift, np.float32) for shift in (0.4, 0.0)]
    with contextlib.redirect_stdout(io.StringIO()):
        on_clips = compute_prdc(b, a, nearest_k=nearest)
        on_clouds = compute_prdc(clouds[1], clouds[0], nearest_k=5)
    for name, kind in kinds.items():
        metric = kind.from_mapping({"nearest": nearest})
        how = f"{package('prdc')} compute_prdc"
        done.append(
            row(f"{name} k=1", f"{how} on that network", ours.compare(seen[0], seen[1], metric), on_clips[name])
        )
        done.append(row(f"{name} k=5", f"{how}, 300 points", getattr(prdc, name)(*clouds, 5), on_clouds[name]))
    return done


def fid_rows(folder: Path, sets: Sets, frames: int) -> list[bool]:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    state = random_tensors(inception_network.tensor_shapes())
    counters = {f"{name}.bn.num_batches_tracked": torch.tensor(0) for name in inception_network.units()}
    path = imported(inception_network.WEIGHTS, {**state, **counters}, folder)
    ours = Ours(Fid.from_mapping({"frames": frames}))
    seen = observed(ours, sets)
    network = FeatureExtractorInceptionV3("random", ["2048"], feature_extractor_weights_path=str(path))
    both = []
    for paths, observations in zip(sets, seen, strict=True):
        rows = []
        for clip, one in zip(paths, observations, strict=True):
            numbers = one.of("inception", InceptionObservation).frame_numbers.tolist()
            pixels = torch.from_numpy(frames_of(clip, numbers)).permute(0, 3, 1, 2).contiguous()
            rows.append(network(pixels)[0].double())
        both.append(torch.cat(rows))
    features = [np.concatenate([o.of("inception", InceptionObservation).features for o in part]) for part in seen]
    gap = max(float(np.abs(f - t.numpy()).max()) for f, t in zip(features, both, strict=True))
    largest = max(float(t.abs().max()) for t in both)
    statistics = [fid_features_to_statistics(part) for part in both]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    name = package("torch-fidelity")
    return [
        row("fid features", f"{name} FeatureExtractorInceptionV3, largest + gap", largest + gap, largest),
        row("fid", f"{name} fid on {sum(map(len, features))} frames", ours.compare(*seen), float(theirs)),
    ]


def videomae_rows(folder: Path, sets: Sets) -> list[bool]:
    import cdfvd.fvd
    from cdfvd.third_party.VideoMAEv2.videomaev2_finetune import VisionTransformer

    small = vt.TransformerConfig(width=48, depth=3, heads=4, hidden=96, patch=14)
    state = random_tensors(vt.videomae_shapes(small))
    imported(vt.VIDEOMAE, {"module": state}, folder)
    vt.VIDEOMAE_GIANT = small
    ours = Ours(FvdVideoMae())
    seen = observed(ours, sets)

    def model(device: Any, path: Any = None) -> Any:
        network = VisionTransformer(
            patch_size=small.patch,
            embed_dim=small.width,
            depth=small.depth,
            num_heads=small.heads,
            mlp_ratio=small.hidden / small.width,
            qkv_bias=True,
            norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
            num_classes=small.classes,
            all_frames=16,
            tubelet_size=2,
            use_mean_pooling=True,
        )
        network.load_state_dict(state)
        return network

    cdfvd.fvd.load_videomae_model = model  # the published one is a gigabyte; all else is theirs
    with contextlib.redirect_stdout(io.StringIO()):
        program = cdfvd.fvd.cdfvd("videomae", device="cpu", n_real="full", n_fake="full")
    fake, real = (np.stack(part) for part in windows_of(sets, seen))
    theirs = float(program.compute_fvd(real, fake))
    return [row("fvd_videomae", f"{package('cd-fvd')} compute_fvd, ViT of 3 x 48", ours.compare(*seen), theirs)]


def jedi_rows(folder: Path, sets: Sets) -> list[bool]:
    small = vt.TransformerConfig(width=48, depth=3, heads=4, hidden=96, patch=16)
    encoder, probe = random_tensors(vt.vjepa_shapes(small)), random_tensors(vt.probe_shapes(small), 1)
    imported(vt.VJEPA, {"target_encoder": {f"module.backbone.{k}": v for k, v in encoder.items()}}, folder)
    imported(vt.PROBE, {"classifier": {f"module.{k}": v for k, v in probe.items()}}, folder)
    vt.VJEPA_HUGE = small
    ours = Ours(Jedi.from_mapping({"side": 0}))
    seen = observed(ours, sets)
    features = [np.concatenate([o.of("vjepa", VJepaObservation).features for o in part]) for part in seen]
    from sklearn.metrics.pairwise import polynomial_kernel

    def by_sklearn(x: Any, y: Any) -> float:
        means = [polynomial_kernel(p, q, 2, None, 0).mean() for p, q in ((x, x), (y, y), (x, y))]
        return float(100 * (means[0] + means[1] - 2 * means[2]))

    wide = [part.astype(np.float64) for part in features]
    done = [
        row("jedi mmd", f"{package('scikit-learn')} polynomial_kernel", jedi_distance(*features), by_sklearn(*wide))
    ]
    spec = importlib.util.find_spec("videojedi")
    if spec is None or spec.origin is None or not has("vjepa"):
        print(f"{'jedi':<60}videojedi and vjepa are not installed: pip install --no-deps videojedi vjepa==0.1.2")
        return done
    mmd = importlib.util.spec_from_file_location("mmd_polynomial", Path(spec.origin).parent / "mmd_polynomial.py")
    if mmd is None or mmd.loader is None:
        sys.exit("videojedi has no mmd_polynomial.py")
    module = importlib.util.module_from_spec(mmd)
    mmd.loader.exec_module(module)  # alone: the package itself starts a process group
    theirs = [jedi_features(small, encoder, probe, part) for part in windows_of(sets, seen)]
    value = float(100 * module.mmd_poly(*theirs, degree=2, coef0=0))
    name = f"{package('videojedi')} mmd_poly on {package('vjepa')}, ViT of 3 x 48"
    return [*done, row("jedi", name, ours.compare(*seen), value)]


def jedi_features(small: vt.TransformerConfig, encoder: Any, probe: Any, windows: Sequence[Pixels]) -> Features:
    from vjepa.models.attentive_pooler import AttentiveClassifier
    from vjepa.models.vision_transformer import VisionTransformer

    sizes = {"embed_dim": small.width, "num_heads": small.heads, "mlp_ratio": small.hidden / small.width}
    norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
    looks = VisionTransformer(num_frames=16, tubelet_size=2, depth=small.depth, norm_layer=norm, **sizes).eval()
    pools = AttentiveClassifier(num_classes=small.classes, **sizes).eval()
    looks.load_state_dict(encoder)
    pools.load_state_dict(probe)
    mean, deviation = (torch.tensor(v)[:, None, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    rows = []
    with torch.no_grad():
        for pixels in windows:
            x = (torch.from_numpy(pixels).permute(3, 0, 1, 2).float() / 255 - mean) / deviation
            rows.append(pools.pooler(looks(x[None]))[0, 0].double().numpy())
    return np.stack(rows)


def cmmd_rows() -> list[bool]:
    """The mathematics; the embeddings are CLIP's, see `clip_rows`."""
    from sklearn.metrics.pairwise import rbf_kernel

    rng = np.random.default_rng(0)
    x, y = (normalised(rng.normal(size=(n, 768)) + shift) for n, shift in ((400, 0.0), (300, 0.05)))
    means = [rbf_kernel(p, q, gamma=1 / 200).mean() for p, q in ((x, x), (y, y), (x, y))]
    theirs = 1000 * float(means[0] + means[1] - 2 * means[2])
    return [
        row("cmmd mmd", f"{package('scikit-learn')} rbf_kernel, 400 and 300 points", SCALE * gaussian_mmd(x, y), theirs)
    ]


def pair_rows(sets: Sets) -> list[bool]:
    """A real clip against itself with noise."""
    import skimage.metrics
    import torchmetrics
    from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

    clip = window(sets[1][0], 0)
    rng = np.random.default_rng(0)
    noisy = np.clip(clip + rng.normal(0, 12, clip.shape), 0, 255).astype(np.uint8)
    ours = score(Psnr, noisy, reference=clip).value, score(Ssim, noisy, reference=clip).value
    image: Any = skimage.metrics.peak_signal_noise_ratio
    other: Any = skimage.metrics.structural_similarity
    settings: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    by_skimage = float(
        np.mean([other(r, g, data_range=255, channel_axis=-1, **settings) for r, g in zip(clip, noisy, strict=True)])
    )
    a, b = (torch.from_numpy(x).permute(0, 3, 1, 2).double() for x in (noisy, clip))
    scikit, torch_metrics = package("scikit-image"), f"torchmetrics {torchmetrics.__version__}"
    # Its own mean takes in the borders, where windows reach into reflected pixels; scikit-image's and ours do not.
    similarity = StructuralSimilarityIndexMeasure(data_range=255.0, return_full_image=True)
    full = similarity.set_dtype(torch.float64)(a, b)[1]
    by_torchmetrics = full[..., 5:-5, 5:-5].mean()
    return [
        row("psnr", f"{scikit} peak_signal_noise_ratio", ours[0] or 0, float(image(clip, noisy, data_range=255))),
        row("psnr", f"{torch_metrics} PeakSignalNoiseRatio", ours[0] or 0, float(PeakSignalNoiseRatio(255.0)(a, b))),
        row("ssim", f"{scikit} structural_similarity, Gaussian", ours[1] or 0, by_skimage),
        row("ssim", f"{torch_metrics} StructuralSimilarityIndexMeasure, inside", ours[1] or 0, float(by_torchmetrics)),
    ]


def clip_rows(clips: Path) -> list[bool]:
    """The CLIP metrics with a small random CLIP, from `parity_clip.py` beside this file."""
    beside = importlib.import_module(f"{__package__}.parity_clip" if __package__ else "parity_clip")
    lacking = beside.missing()
    if lacking:
        print(f"clip: {', '.join(lacking)} not installed: pip install 'vidbench[models,parity]'", file=sys.stderr)
        return [False]
    return [
        row(f"clip: {r.name}", f"{r.package} {r.version}", r.ours, r.theirs) for r in beside.rows(clips) if r.limited
    ]


def cost(checkpoint: Path, sets: Sets, repeats: int) -> None:
    ours = Ours(Fvd.from_mapping({"protocol": "cd-fvd"}))
    starts = [[start_of(ours.observe(path)) for path in paths] for paths in sets]  # warms up, too
    warm = np.zeros((1, WINDOW, 64, 64, 3), np.uint8)
    theirs_cd_fvd(checkpoint).compute_fvd(warm, warm)
    best: dict[str, float] = {}
    for _ in range(repeats):
        began = time.process_time()
        ours.compare(*observed(ours, sets))
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


PARTS = ("pairs", "fvd", "fid", "fvd_videomae", "jedi", "cmmd", "clip", "cost")


def run(only: Sequence[str], arguments: argparse.Namespace, sets: Sets, folder: Path) -> list[bool]:
    checkpoint = random_checkpoint(arguments.oracles, folder)
    done: list[bool] = []
    parts: dict[str, Callable[[], list[bool]]] = {
        "pairs": lambda: pair_rows(sets),
        "fvd": lambda: [ok for protocol in PROTOCOLS for ok in fvd_rows(protocol, checkpoint, sets)],
        "fid": lambda: fid_rows(folder, sets, 1 if arguments.quick else 3),
        "fvd_videomae": lambda: videomae_rows(folder, sets),
        "jedi": lambda: jedi_rows(folder, sets),
        "cmmd": cmmd_rows,
        "clip": lambda: clip_rows(arguments.clips),
    }
    for name, part in parts.items():
        if name in only:
            done += part()
    if "cost" in only:
        cost(checkpoint, sets, repeats=1 if arguments.quick else 2)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=Path("../shared/clips/fetv"))
    parser.add_argument("--oracles", type=Path, default=Path("../shared/oracles"))
    parser.add_argument("--model", default="zeroscope", help="frames of 288x160 tell squash from crop")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="three clips a set; not for publishing")
    arguments = parser.parse_args()
    only = arguments.only.split(",")
    unknown = sorted(set(only) - set(PARTS))
    if unknown:
        print(f"--only knows {', '.join(PARTS)}, not {', '.join(unknown)}", file=sys.stderr)
        return 2
    needed = {"cdfvd": "cd-fvd", "torch_fidelity": "torch-fidelity", "torchmetrics": "torchmetrics", "prdc": "prdc"}
    needed |= {"sklearn": "scikit-learn", "skimage": "scikit-image"}
    missing = [name for module, name in needed.items() if not has(module)]
    if missing:
        print(f"{', '.join(missing)} not installed: pip install {' '.join(missing)}", file=sys.stderr)
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
    print(f"\n{'':<60}{'against':<66}{'vidbench':>18}{'theirs':>18}{'relative':>10}")
    with tempfile.TemporaryDirectory() as folder:
        done = run(only, arguments, sets, Path(folder))
    print(f"\n{sum(done)} of {len(done)} rows within {LIMIT:g}")
    return 0 if all(done) else 1


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":  # read when numpy and torch are imported, so begin again
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **threads})  # noqa: S606  # ourselves
    sys.exit(main())
