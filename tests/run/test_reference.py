"""Reference files: the same values as from the folder, stamps that refuse, and files from hostile hands."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from vidbench import reference as files
from vidbench.errors import InputError
from vidbench.reference import KEY, _digest, read_reference
from vidbench.run.engine import Request, Result, execute
from vidbench.run.reference import BuildRequest, Built, build, merge_files, unpacked
from vidbench.video import encode_h264

SETTINGS = {"fvmd_lk": {"stride": 2}}


class Quiet:
    def selected(self, folder, selection) -> None: ...

    def begins(self, total, finished, jobs) -> None: ...

    def clip_done(self, row) -> None: ...

    def finalising(self, what) -> None: ...


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of model m, four reference clips (two and two in halves), and the whole reference set's file."""
    root = tmp_path_factory.mktemp("reference")
    for number in range(7):
        rng = np.random.default_rng(number)
        noise = rng.integers(0, 256, (12, 16, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        clip = np.stack([np.roll(noise, (t * (1 + number % 3), 2 * t), axis=(0, 1)) for t in range(17)])
        folders = [root / "clips" / "m"] if number < 3 else [root / "real", root / f"half{number % 2}"]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            encode_h264(folder / f"{number}.mp4", clip, 8.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDBENCH_CACHE", str(root / "cache"))
        _build(root / "real", root / "real.safetensors")
    return root


@pytest.fixture(scope="module")
def whole(made: Path) -> Result:
    """A run with the whole reference set's file."""
    return _run(made, made / "whole", made / "real.safetensors")


def _build(folder: Path, out: Path, **more: Any) -> Built:
    more.setdefault("metrics", ("fvmd_lk",))
    more.setdefault("parameters", SETTINGS)
    more.setdefault("cache", False)
    return build(BuildRequest(folder, out, jobs=1, **more), lambda total, jobs: None, lambda row: None)


def _run(root: Path, out: Path, reference: Path, **more: Any) -> Result:
    more.setdefault("metrics", ("fvmd_lk",))
    more.setdefault("parameters", SETTINGS)
    return execute(
        Request(clips=root / "clips", out=out, reference=reference, jobs=1, media=False, cache=False, **more), Quiet()
    )


def test_a_run_with_the_file_gives_the_folders_value_bit_for_bit(made: Path, whole: Result, tmp_path: Path) -> None:
    by_folder = _run(made, tmp_path / "folder", made / "real")
    assert whole.run.scores == by_folder.run.scores
    score = whole.run.summary.score("m", "fvmd_lk")
    assert score.value is not None
    assert score.value > 0
    assert "the reference set is real.safetensors: statistics of 4 clips" in whole.run.summary.warnings
    assert whole.run.references == ()


def test_the_same_clips_give_the_same_bytes_and_the_stamp_tells_all(made: Path, tmp_path: Path) -> None:
    _build(made / "real", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (made / "real.safetensors").read_bytes()
    whole = read_reference(made / "real.safetensors")
    assert (whole.clips, whole.features) == (4, True)
    assert whole.spans == {"frames": [17, 17], "fps": [8.0, 8.0], "width": [64, 64], "height": [48, 48]}
    kept = whole.metrics["fvmd_lk"]
    assert (kept.version, kept.parameters, kept.clips) == ("1", {"stride": 2}, 4)
    (stamp,) = kept.extractors
    assert (stamp.name, stamp.parameters, stamp.weights) == ("lk_tracks", {"stride": 2}, None)


def test_without_features_no_row_is_kept_and_the_value_is_the_same_to_rounding(
    made: Path, whole: Result, tmp_path: Path
) -> None:
    _build(made / "real", tmp_path / "moments.safetensors", features=False)
    kept = read_reference(tmp_path / "moments.safetensors").metrics["fvmd_lk"]
    assert kept.arrays["rows"].shape == (0, 1024)
    assert kept.arrays["scatter"].shape == (1024, 1024)
    value = _run(made, tmp_path / "out", tmp_path / "moments.safetensors").run.summary.score("m", "fvmd_lk").value
    assert value == pytest.approx(whole.run.summary.score("m", "fvmd_lk").value, rel=1e-9)


def test_files_of_two_halves_merge_to_the_whole(made: Path, whole: Result, tmp_path: Path) -> None:
    for half in ("half0", "half1"):
        _build(made / half, tmp_path / f"{half}.safetensors")
    parts = (tmp_path / "half0.safetensors", tmp_path / "half1.safetensors")
    merged = merge_files(parts, tmp_path / "both.safetensors")
    assert merged.hexdigests() == read_reference(made / "real.safetensors").hexdigests()
    value = _run(made, tmp_path / "a", tmp_path / "both.safetensors").run.summary.score("m", "fvmd_lk").value
    assert value == pytest.approx(whole.run.summary.score("m", "fvmd_lk").value, rel=1e-9)
    with pytest.raises(InputError, match=r"half0\.safetensors shares 2 clips"):
        merge_files((parts[0], parts[0]), tmp_path / "twice.safetensors")
    _build(made / "half1", tmp_path / "other.safetensors", parameters={"fvmd_lk": {"stride": 1}})
    with pytest.raises(InputError, match=r"differ in fvmd_lk: stride 1 against 2; build both alike"):
        merge_files((parts[0], tmp_path / "other.safetensors"), tmp_path / "no.safetensors")
    assert not (tmp_path / "no.safetensors").exists()


def test_a_model_that_is_the_reference_set_is_known_by_its_hashes(made: Path, tmp_path: Path) -> None:
    result = execute(
        Request(
            clips=made / "real",
            out=tmp_path / "out",
            reference=made / "real.safetensors",
            metrics=("fvmd_lk",),
            parameters=SETTINGS,
            jobs=1,
            media=False,
            cache=False,
        ),
        Quiet(),
    )
    assert "all of its clips are in the reference set" in result.run.summary.score("real", "fvmd_lk").note


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({}, r"stride 2 against 8; run with: --set fvmd_lk\.stride=2$")],
)
def test_other_settings_are_refused_with_the_difference(
    made: Path, tmp_path: Path, parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        _run(made, tmp_path / "out", made / "real.safetensors", parameters=parameters)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h: h["metrics"]["fvmd_lk"].update(version="0"), "version 0 of the metric against 1; build it again"),
        (
            lambda h: h["metrics"]["fvmd_lk"]["extractors"][0].update(version="7"),
            "version 7 of the extractor lk_tracks against 1; build it again",
        ),
        (
            lambda h: h["metrics"]["fvmd_lk"]["extractors"][0].update(weights="sha256:0123456789abcdef0123456789"),
            "weights of lk_tracks: sha256:0123456789abcdef… against none",
        ),
        (lambda h: h.update(decoder="vidbench-decode-0 av-1"), "frames decoded by vidbench-decode-0 av-1 against"),
    ],
)
def test_every_part_of_the_stamp_is_compared(
    made: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    path = tmp_path / "changed.safetensors"
    path.write_bytes(_changed(made / "real.safetensors", header=change))
    with pytest.raises(InputError, match=said):
        _run(made, tmp_path / "out", path)


def test_another_vidbench_and_decoder_library_are_told(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "changed.safetensors"

    def older(header: dict[str, Any]) -> None:
        header.update(vidbench="0.0.1", decoder=header["decoder"].split(" ")[0] + " av-1 opencv-1")

    path.write_bytes(_changed(made / "real.safetensors", header=older))
    warnings = _run(made, tmp_path / "out", path).run.summary.warnings
    assert any("changed.safetensors was built by vidbench 0.0.1" in line for line in warnings)
    assert any("av-1 opencv-1, this run by vidbench-decode-1" in line for line in warnings)


def test_metrics_that_the_file_lacks_are_left_out_with_the_command(made: Path, tmp_path: Path) -> None:
    result = _run(
        made,
        tmp_path / "out",
        made / "real.safetensors",
        metrics=("fvmd_lk", "prdc_recall"),
        parameters={**SETTINGS, "prdc_recall": {"features": "efficientnet_lite0"}},
    )
    reason = result.run.summary.score("m", "prdc_recall").reason or ""
    if "not installed" not in reason:
        assert "real.safetensors holds no statistics for it: vidbench reference build FOLDER --metrics" in reason


def test_pairs_need_clips(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--pair-by-name needs clips"):
        _run(made, tmp_path / "out", made / "real.safetensors", pair_by_name=True)


def _changed(
    path: Path,
    header: Callable[[dict[str, Any]], object] = lambda header: None,
    tensors: Callable[[dict[str, NDArray[Any]]], object] = lambda tensors: None,
) -> bytes:
    """The file with a changed header or changed numbers, its checksum right again: as a hostile hand would do it."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    values = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY])
    arrays = load(data)
    header(values)
    tensors(arrays)
    values["sha256"] = _digest(arrays)
    return save(arrays, metadata={KEY: json.dumps(values)})


def _set(key: str, value: NDArray[Any]) -> Callable[[dict[str, NDArray[Any]]], object]:
    return lambda tensors: tensors.update({key: value})


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (_set("fvmd_lk/rows", np.full((4, 1024), np.nan)), "rows is no array of finite numbers"),
        (_set("fvmd_lk/rows", np.zeros((4, 3))), "3 dimensions, not 1024"),
        (_set("fvmd_lk/rows", np.zeros((4,))), r"rows has the shape \(4,\)"),
        (_set("fvmd_lk/rows", np.zeros((2000, 1024))), "do not fit"),
        (_set("fvmd_lk/rows", np.zeros((4, 1024), np.int64)), "rows is no array of finite numbers"),
        (_set("fvmd_lk/scatter", np.eye(1024)), "do not fit"),
        (_set("fvmd_lk/more", np.zeros(3)), "it holds the arrays mean, more, rows, scatter, not mean, rows, scatter"),
        (lambda t: t.pop("fvmd_lk/mean"), "it holds the arrays rows, scatter, not"),
    ],
)
def test_states_that_no_metric_can_have_written_are_refused(
    made: Path, tmp_path: Path, tensors: Callable[[dict[str, NDArray[Any]]], object], said: str
) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(_changed(made / "real.safetensors", tensors=tensors))
    with pytest.raises(InputError, match=said) as caught:
        unpacked(path, read_reference(path))
    assert "hostile.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_covariance_that_is_none_is_refused(made: Path, tmp_path: Path) -> None:
    _build(made / "real", tmp_path / "moments.safetensors", features=False)
    scatter = read_reference(tmp_path / "moments.safetensors").metrics["fvmd_lk"].arrays["scatter"]
    crooked, negative = scatter.copy(), scatter - 2 * np.abs(scatter).max() * np.eye(len(scatter))
    crooked[0, 1] += np.abs(scatter).max()
    path = tmp_path / "hostile.safetensors"
    for value, said in ((crooked, "not symmetric"), (negative, "negative eigenvalue")):
        path.write_bytes(_changed(tmp_path / "moments.safetensors", tensors=_set("fvmd_lk/scatter", value)))
        with pytest.raises(InputError, match=said):
            unpacked(path, read_reference(path))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (lambda h: h.update(format=2), "has the format 2, this vidbench reads 1; update vidbench"),
        (lambda h: h.update(clips=5), "should hold 5 hashes of clips"),
        (lambda h: h.update(clips=-1), "the number of clips is none"),
        (lambda h: h.update(metrics=[]), "metrics: no dictionary"),
        (lambda h: h["metrics"].update(fvd=3), "fvd: no dictionary"),
        (lambda h: h["metrics"]["fvmd_lk"].update(clips=9), "more clips than the file"),
        (lambda h: h["metrics"].pop("fvmd_lk"), "belongs to no metric"),
        (lambda h: h.update(spans={"fps": [float("nan"), 1]}), "its header holds NaN"),
        (lambda h: h.update(decoder=None), "the decoder is no text"),
    ],
)
def test_headers_that_make_no_sense_are_refused(
    made: Path, tmp_path: Path, header: Callable[[dict[str, Any]], object], said: str
) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(_changed(made / "real.safetensors", header=header))
    with pytest.raises(InputError, match=said) as caught:
        read_reference(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not safetensors at all",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 4) + b"[[[[",
        struct.pack("<Q", 200000) + b"[" * 200000,
        save({"weight": np.zeros(3, np.float32)}),
        save({"weight": np.zeros(3, np.float32)}, metadata={KEY: "[1, 2"}),
        b"\x80\x04\x95",
    ],
)
def test_files_of_other_kinds_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"no whole reference file .*vidbench reference build FOLDER -o other"):
        read_reference(path)


def test_a_flipped_bit_is_found(made: Path, tmp_path: Path) -> None:
    data = bytearray((made / "real.safetensors").read_bytes())
    data[-100] ^= 4
    (tmp_path / "flipped.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="do not have the checksum that it names"):
        read_reference(tmp_path / "flipped.safetensors")
    with pytest.raises(InputError, match=r"absent\.safetensors cannot be read"):
        read_reference(tmp_path / "absent.safetensors")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"metrics": ("exposure",), "parameters": {}}, "exposure: compares no sets"),
        ({"protocol": "videogpt"}, "none of the metrics has protocols"),
        (
            {"metrics": ("fvd",), "parameters": {}},
            "fvd: (torch not installed: pip install|weights i3d .* are not here: vidbench weights fetch i3d)",
        ),
        ({"metrics": ("fvd",), "parameters": {}, "protocol": "none"}, "there is no protocol 'none'"),
    ],
)
def test_what_cannot_be_built_is_said(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], said: str
) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(InputError, match=said):
        _build(made / "real", tmp_path / "out.safetensors", **more)
    assert not (tmp_path / "out.safetensors").exists()


def test_fvd_and_kvd_by_file(made: Path, tmp_path: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks too: one build for two metrics, a protocol for both, refused where the weights are others."""
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(random_weights))
    path, names = tmp_path / "fvd.safetensors", ("fvd", "kvd")
    short = {name: {"frames": 9} for name in names}
    _build(made / "real", path, metrics=names, protocol="tf", parameters=short)
    whole = read_reference(path)
    assert whole.metrics["fvd"].parameters["protocol"] == whole.metrics["kvd"].parameters["protocol"] == "tf"
    assert (whole.metrics["fvd"].extractors[0].weights or "").startswith("sha256:")
    assert whole.metrics["kvd"].arrays["rows"].shape == (4, 400)
    settings = {name: {"frames": 9, "protocol": "tf"} for name in names}
    by_file = _run(made, tmp_path / "a", path, metrics=names, parameters=settings)
    by_folder = _run(made, tmp_path / "b", made / "real", metrics=names, parameters=settings)
    assert by_file.run.scores == by_folder.run.scores
    with pytest.raises(InputError, match=r"protocol tf against stylegan-v; run with: --set fvd\.protocol=tf"):
        _run(made, tmp_path / "c", path, metrics=("fvd",), parameters={"fvd": {"frames": 9}})
    changed = tmp_path / "weights.safetensors"

    def other(header: dict[str, Any]) -> None:
        header["metrics"]["fvd"]["extractors"][0]["weights"] = "sha256:" + "0" * 64

    changed.write_bytes(_changed(path, header=other))
    with pytest.raises(InputError, match="weights of i3d: sha256:0000000000000000… against sha256:"):
        _run(made, tmp_path / "d", changed, metrics=("fvd",), parameters={"fvd": settings["fvd"]})
    with pytest.raises(InputError, match="kvd: needs the rows of single clips, which --no-features leaves out"):
        _build(made / "real", tmp_path / "no.safetensors", metrics=names, parameters=short, features=False)


def test_the_command_line(vidbench, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "real.safetensors"
    (made / "real" / "broken.mp4").write_bytes(b"no video")
    try:
        built = vidbench(
            "reference", "build", made / "real", "--metrics", "fvmd_lk", "--set", "fvmd_lk.stride=2", "-o", out, "-j", 1
        )
    finally:
        (made / "real" / "broken.mp4").unlink()
    assert built.returncode == 3, built.stderr
    assert "clip broken.mp4 failed" in built.stderr
    assert "4 clips, 17 frames, 8 fps, 64x48" in built.stdout
    shown = vidbench("reference", "show", out)
    assert shown.returncode == 0
    assert "fvmd_lk 1: 4 clips; stride=2" in shown.stdout
    wrong = vidbench("reference", "build", made / "real", "-o", tmp_path / "real.npz")
    assert (wrong.returncode, "must end in .safetensors" in wrong.stderr) == (2, True)
    refused = vidbench("run", made / "clips", "--reference", out, "--metrics", "fvmd_lk", "--out", tmp_path / "run")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "stride 2 against 8" in refused.stderr
    assert files.SUFFIX == ".safetensors"
