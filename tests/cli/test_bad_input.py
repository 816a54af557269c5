"""Thirty kinds of bad input beside five good clips: each has its row and reason, the good ones lose nothing."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import wave
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vidbench.video import encode_h264

GOOD = 5
METRICS = "temporal_flickering,frozen_frames,black_frames,sharpness,exposure"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def good_folder(tmp_path: Path, moving_square) -> Path:
    folder = tmp_path / "good"
    for number in range(GOOD):
        clip = folder / "model" / f"good {number}.mp4"
        clip.parent.mkdir(parents=True, exist_ok=True)
        encode_h264(clip, moving_square(12, 48, 64, seed=number), 8.0)
    return folder


def spoil(folder: Path, outside: Path) -> dict[str, str]:
    """Put the bad input beside the good clips; returns the expected row id and a part of its reason."""
    model = folder / "model"
    good = (model / "good 0.mp4").read_bytes()
    expected: dict[str, str] = {}

    def put(name: str, data: bytes, reason: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        expected[name] = reason

    put("model/zero.mp4", b"", "empty file")
    put("model/text.mp4", b"this is not a video\n" * 50, "text, not a video")
    put("model/no index.mp4", good[: len(good) // 3], "cut off")
    longer = model / "cut.mp4"
    frames = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), dtype=np.uint8)
    encode_h264(longer, frames, 8.0)
    put("model/cut.mp4", longer.read_bytes()[: longer.stat().st_size * 6 // 10], "cut off: decodes")
    sound = model / "sound.mp4"
    _audio_only(sound)
    expected["model/sound.mp4"] = "audio only"
    put("model/still.mp4", cv2.imencode(".png", frames[0])[1].tobytes(), "still image")
    put("model/noise.webm", np.random.default_rng(1).bytes(4000), "not a video in a format")
    put("model/list.mp4", b"#EXTM3U\n#EXTINF:1,\ngood 0.mp4\n#EXT-X-ENDLIST\n", "playlist")
    put("model/rate.mp4", _without_clock(model / "rate.mp4", frames[:6]), "gives no frame rate")
    arrays: dict[str, Any] = {
        "model/float.npy": np.zeros((4, 8, 8, 3), np.float32),
        "model/flat.npy": np.zeros((4, 8, 8), np.uint8),
        "model/none.npy": np.zeros((0, 8, 8, 3), np.uint8),
    }
    for name, array in arrays.items():
        np.save(folder / name, array)
    expected |= {"model/float.npy": "float32", "model/flat.npy": "wanted is (T, H", "model/none.npy": "no frames"}
    np.save(model / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    expected["model/pickle.npy"] = "Python objects"
    np.savez(model / "two.npz", a=np.zeros((2, 8, 8, 3), np.uint8), b=np.zeros((2, 8, 8, 3), np.uint8))
    expected["model/two.npz"] = "holds a, b"
    for name, numbers in {"gap": (1, 2, 5), "sizes": (1, 2), "broken": (1, 2)}.items():
        (model / name).mkdir()
        for number in numbers:
            size = 16 if (name, number) == ("sizes", 2) else 8
            cv2.imwrite(str(model / name / f"frame_{number:04d}.png"), np.full((size, size, 3), 9, np.uint8))
    (model / "broken" / "frame_0002.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    expected |= {"model/gap": "missing", "model/sizes": "size", "model/broken": "frame_0002.png"}
    put("model/notes.txt", b"hello", "not a clip")
    put("model/picture.png", cv2.imencode(".png", frames[0])[1].tobytes(), "still image")
    put("model/.hidden", b"x", "hidden")
    put("model/clip.dat", good, "looks like")
    with wave.open(str(model / "tone.wav"), "wb") as tone:
        tone.setnchannels(1)
        tone.setsampwidth(2)
        tone.setframerate(8000)
        tone.writeframes(bytes(1600))
    expected["model/tone.wav"] = "not a clip"
    put("model/lost.actions.json", b"[1, 2]", "no clip beside it")
    (model / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    expected["model/gone.mp4"] = "broken symlink"
    (outside / "secret.mp4").write_bytes(good)
    (model / "away.mp4").symlink_to(outside / "secret.mp4")
    expected["model/away.mp4"] = "leaves the clip folder"
    os.mkfifo(model / "pipe.mp4")
    expected["model/pipe.mp4"] = "pipe"
    (folder / "empty model").mkdir()
    expected["empty model"] = "empty folder"
    (folder / "metadata.csv").write_text(
        "file_name,prompt,fps\n"
        'model/good 0.mp4,"a ""square"", moving",\n'
        "model/good 0.mp4,again,\n"
        "model/missing.mp4,nothing there,\n"
        "../../etc/passwd,outside,\n",
        encoding="utf-8",
    )
    expected["metadata.csv line 3"] = "line 2"
    expected["model/missing.mp4"] = "metadata.csv line 4"
    expected["metadata.csv line 5"] = "leaves the clip folder"
    return expected


def _without_clock(path: Path, frames: np.ndarray) -> bytes:
    """A video each of whose frames is shown for no time at all."""
    import av

    with av.open(str(path), "w", container_options={"use_editlist": "0"}) as container:
        stream = container.add_stream("libx264", rate=8, options={"bf": "0"})
        stream.height, stream.width = frames.shape[1:3]
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    table = data.index(b"stts") + 8
    (entries,) = struct.unpack_from(">I", data, table)
    for entry in range(entries):
        struct.pack_into(">I", data, table + 8 + 8 * entry, 0)
    return bytes(data)


def _audio_only(path: Path) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def test_thirty_kinds_of_bad_input_beside_five_good_clips(vidbench, good_folder: Path, tmp_path: Path):
    alone = vidbench("run", good_folder, "--out", tmp_path / "alone", "--metrics", METRICS, "-j", 1)
    assert alone.returncode == 0, alone.stderr
    mixed = tmp_path / "mixed"
    shutil.copytree(good_folder, mixed)
    outside = tmp_path / "outside"
    outside.mkdir()
    expected = spoil(mixed, outside)
    assert len(expected) == 30

    done = vidbench("run", mixed, "--out", tmp_path / "run", "-j", 2)
    assert done.returncode == 0, done.stderr
    met = rows(tmp_path / "run" / "clips.jsonl")
    told = {row["clip"]: row for row in met if row["status"] != "scored"}
    assert len(met) == 35
    assert sorted(told) == sorted(expected)
    assert len(met) - len(told) == GOOD
    for name, part in expected.items():
        assert told[name]["reason"], name
        assert part in told[name]["reason"], (name, told[name]["reason"])
        assert "\n" not in told[name]["reason"]

    scores = {
        (r["clip"], r["metric"]): r["value"] for r in rows(tmp_path / "run" / "scores.jsonl") if r["value"] is not None
    }
    for row in rows(tmp_path / "alone" / "scores.jsonl"):
        assert scores[row["clip"], row["metric"]] == row["value"]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    meant = [row for row in met if row["status"] != "skipped" and row["model"] is not None]
    for score in summary["scores"]:
        assert score["n_scored"] + score["n_unscored"] == sum(row["model"] == score["model"] for row in meant)

    strict = vidbench("run", mixed, "--out", tmp_path / "run", "-j", 2, "--strict")
    assert strict.returncode == 3
    assert "--strict" in strict.stderr


@pytest.mark.parametrize(
    "name",
    [
        "a b.mp4",
        'it\'s "quoted".mp4',
        "new\nline.mp4",
        "🎈 ballon é.mp4",
        "-dash.mp4",
        "semi;$(x).mp4",
        "50%d.mp4",
        "http:__x.mp4",
    ],
)
def test_odd_names_are_scored_and_stay_names(vidbench, tmp_path: Path, moving_square, name: str):
    folder = tmp_path / "clips"
    folder.mkdir()
    encode_h264(folder / "plain.mp4", moving_square(6, 32, 32), 8.0)
    (folder / "plain.mp4").rename(folder / name)
    done = vidbench("run", "clips", "--out", "out", "-j", 1, "--metrics", "black_frames", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = rows(tmp_path / "out" / "clips.jsonl")
    assert (row["clip"], row["status"]) == (name, "scored")


def test_an_empty_folder_says_what_was_looked_for(vidbench, tmp_path: Path):
    (tmp_path / "clips").mkdir()
    done = vidbench("run", tmp_path / "clips", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert ".mp4" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_and_a_folder_of_other_files_exit_2(vidbench, tmp_path: Path):
    missing = vidbench("run", tmp_path / "nowhere", "--out", tmp_path / "out")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    other = vidbench("run", tmp_path / "texts", "--out", tmp_path / "out")
    assert (missing.returncode, other.returncode) == (2, 2)
    assert "no such folder" in missing.stderr
    assert ".txt" in other.stderr


def test_metadata_without_file_name_names_the_column(vidbench, good_folder: Path, tmp_path: Path):
    (good_folder / "metadata.csv").write_text("name,prompt\nmodel/good 0.mp4,x\n")
    done = vidbench("run", good_folder, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "file_name" in done.stderr
    assert "metadata.csv" in done.stderr


def test_all_clips_unreadable_exits_2_and_keeps_the_reasons(vidbench, tmp_path: Path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"")
    done = vidbench("run", tmp_path / "clips", "--out", tmp_path / "out", "-j", 1)
    assert done.returncode == 2
    assert "none of the 1 clips" in done.stderr
    assert rows(tmp_path / "out" / "clips.jsonl")[0]["reason"].startswith("empty file")


def test_an_output_folder_of_another_run_is_refused_until_told(vidbench, good_folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert vidbench("run", good_folder, "--out", out, "--metrics", "exposure", "-j", 1).returncode == 0
    other = vidbench("run", good_folder, "--out", out, "--metrics", "sharpness", "-j", 1)
    assert other.returncode == 2
    assert "holds another run" in other.stderr
    assert "exposure" in other.stderr
    over = vidbench("run", good_folder, "--out", out, "--metrics", "sharpness", "-j", 1, "--overwrite")
    assert over.returncode == 0
    assert {row["metric"] for row in rows(out / "scores.jsonl")} == {"sharpness"}


def test_an_output_folder_with_strange_files_is_refused(vidbench, good_folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    done = vidbench("run", good_folder, "--out", out, "--overwrite")
    assert done.returncode == 2
    assert "thesis.tex" in done.stderr
    assert (out / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("target", ["/proc/vidbench-out", "/dev/full/out"])
def test_an_unwritable_output_folder_is_one_line(vidbench, good_folder: Path, target: str):
    if not Path(target).parent.exists():
        pytest.skip(f"{target} is a path of Linux")
    done = vidbench("run", good_folder, "--out", target)
    assert done.returncode == 2
    assert "--out" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(vidbench, good_folder: Path, tmp_path: Path):
    out = tmp_path / "small"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "none", out], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.decode().strip()}")
    try:
        done = vidbench("run", good_folder, "--out", out, "-j", 1)
        assert done.returncode == 2
        assert "no space left" in done.stderr
        assert "Traceback" not in done.stderr
        finished = rows(out / "clips.jsonl") if (out / "clips.jsonl").exists() else []
        assert len(finished) < GOOD
        again = vidbench("run", good_folder, "--out", out, "-j", 1)
        assert again.returncode == 2
    finally:
        subprocess.run(["umount", out], check=True)


def test_unknown_metrics_parameters_and_commands_are_one_line_with_a_hint(vidbench, good_folder: Path, tmp_path: Path):
    for args, hint in [
        (("--metrics", "temporal_flicker"), "temporal_flickering"),
        (("--suite", "frame"), "frames"),
        (("--metrics", "exposure", "--set", "exposure.nothing=1"), "has no parameter"),
        (("--set", "nonsense"), "METRIC.NAME=VALUE"),
    ]:
        done = vidbench("run", good_folder, "--out", tmp_path / "out", *args)
        assert done.returncode == 2, args
        assert hint in done.stderr
        assert "Traceback" not in done.stderr
    typo = vidbench("rnu", good_folder)
    assert typo.returncode == 2
    assert "did you mean run" in typo.stderr
