"""Whole runs: the same scores however spread, interrupted, cached or resumed; strangers' faults stay theirs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from vidbench.errors import RunFolderError
from vidbench.results import load_run
from vidbench.run.engine import Request, execute
from vidbench.run.store import RunStore
from vidbench.video import encode_h264

METRICS = ("temporal_flickering", "frozen_frames", "exposure", "motion_magnitude")


class Quiet:
    def __init__(self) -> None:
        self.done: list[str] = []
        self.began: tuple[int, int] = (0, 0)

    def selected(self, folder, selection) -> None: ...

    def begins(self, total, finished, jobs) -> None:
        self.began = (total, finished)

    def clip_done(self, row) -> None:
        self.done.append(row.clip)

    def finalising(self, what) -> None: ...


def run(clips: Path, out: Path, **options):
    options.setdefault("metrics", METRICS)
    options.setdefault("jobs", 1)
    return execute(Request(clips=clips, out=out, **options), Quiet())


def sorted_scores(out: Path) -> list[str]:
    return sorted((out / "scores.jsonl").read_text(encoding="utf-8").splitlines())


def test_a_run_folder_holds_what_the_design_says(small_folder: Path, tmp_path: Path):
    result = run(small_folder, tmp_path / "out", jobs=2)
    loaded = load_run(tmp_path / "out")
    assert loaded.info.complete
    assert [(r.clip, r.status, r.frames, r.fps) for r in loaded.clips] == [
        (f"{m}/{n}.mp4", "scored", 10, 8.0) for m, n in [("a", 0), ("a", 2), ("a", 4), ("b", 1), ("b", 3)]
    ]
    assert len(loaded.scores) == 5 * len(METRICS)
    assert loaded.scores_frame().shape[0] == 20
    assert {s.n_scored + s.n_unscored for s in loaded.summary.scores if s.model == "a"} == {3}
    for row in loaded.clips:
        assert (tmp_path / "out" / "media" / f"{row.media}.mp4").stat().st_size > 500
        assert (tmp_path / "out" / "media" / f"{row.media}.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert result.computed == 5
    assert loaded.info.inputs.keys() == {"metadata.csv"}


def test_one_or_two_processes_cache_or_none_give_the_same_scores(small_folder: Path, tmp_path: Path):
    run(small_folder, tmp_path / "one", jobs=1, cache=False)
    run(small_folder, tmp_path / "two", jobs=2)
    again = run(small_folder, tmp_path / "cached", jobs=1)
    assert sorted_scores(tmp_path / "one") == sorted_scores(tmp_path / "two") == sorted_scores(tmp_path / "cached")
    assert all("cache" in row.seconds and "decode" not in row.seconds for row in again.run.clips)


def test_a_damaged_cache_is_noticed_and_computed_again(small_folder: Path, tmp_path: Path):
    run(small_folder, tmp_path / "first")
    for entry in Path(os.environ["VIDBENCH_CACHE"]).rglob("*.observation"):
        data = bytearray(entry.read_bytes())
        data[-1] ^= 255
        entry.write_bytes(bytes(data))
    again = run(small_folder, tmp_path / "second")
    assert sorted_scores(tmp_path / "first") == sorted_scores(tmp_path / "second")
    assert all("decode" in row.seconds for row in again.run.clips)


def test_the_cache_is_bounded(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VIDBENCH_CACHE_GB", "0.00002")
    run(small_folder, tmp_path / "out")
    held = sum(p.stat().st_size for p in Path(os.environ["VIDBENCH_CACHE"]).rglob("*.observation"))
    assert held <= 20_000


def test_what_a_kill_left_half_written_is_finished_and_nothing_finished_is_computed_again(
    small_folder: Path, tmp_path: Path
):
    run(small_folder, tmp_path / "whole", cache=False)
    run(small_folder, tmp_path / "out", cache=False)
    out = tmp_path / "out"
    lines = (out / "clips.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (out / "clips.jsonl").write_text("".join(lines[:2]) + lines[2][:40], encoding="utf-8")
    scores = (out / "scores.jsonl").read_text(encoding="utf-8")
    (out / "scores.jsonl").write_text(scores[: len(scores) * 3 // 4], encoding="utf-8")
    (out / "summary.json").unlink()
    listener = Quiet()
    result = execute(Request(clips=small_folder, out=out, metrics=METRICS, jobs=1, cache=False), listener)
    kept = {json.loads(line)["clip"] for line in lines[:2]}
    assert result.computed == 3
    assert not kept & set(listener.done)
    assert sorted_scores(out) == sorted_scores(tmp_path / "whole")
    whole = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert json.loads((out / "summary.json").read_text()) == whole


def test_running_a_finished_run_again_computes_nothing(small_folder: Path, tmp_path: Path):
    run(small_folder, tmp_path / "out")
    before = (tmp_path / "out" / "scores.jsonl").read_bytes()
    assert run(small_folder, tmp_path / "out").computed == 0
    assert sorted((tmp_path / "out" / "scores.jsonl").read_bytes().splitlines()) == sorted(before.splitlines())


def test_a_changed_clip_or_prompt_is_computed_again_and_a_new_one_added(
    small_folder: Path, tmp_path: Path, moving_square
):
    run(small_folder, tmp_path / "out")
    encode_h264(small_folder / "a" / "0.mp4", moving_square(14, 48, 64, seed=9), 8.0)
    encode_h264(small_folder / "b" / "5.mp4", moving_square(10, 48, 64, seed=5), 8.0)
    text = (small_folder / "metadata.csv").read_text().replace("b/1.mp4,prompt 0", "b/1.mp4,another")
    (small_folder / "metadata.csv").write_text(text)
    listener = Quiet()
    result = execute(Request(clips=small_folder, out=tmp_path / "out", metrics=METRICS, jobs=1), listener)
    assert sorted(listener.done) == ["a/0.mp4", "b/1.mp4", "b/5.mp4"]
    assert {row.clip: row.frames for row in result.run.clips}["a/0.mp4"] == 14
    assert len(result.run.scores) == 6 * len(METRICS)


def test_a_folder_in_use_is_refused(small_folder: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(RunFolderError, match="another vidbench run"):
        run(small_folder, tmp_path / "out")


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a run as a process group of its own; whatever a failed test leaves running is ended."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(clips: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "vidbench", "run", str(clips), "--out", str(out), "--no-cache", "-j", "2"),
                *("--metrics", ",".join(METRICS)),
                *more,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            # A shell's background job ignores Ctrl-C, and so would all that it starts, this test's run included.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_rows(out: Path, n: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        path = out / "clips.jsonl"
        if path.exists() and path.read_bytes().count(b"\n") >= n:
            return
        time.sleep(0.02)
    raise TimeoutError("the run wrote no rows")


@pytest.fixture
def many_clips(small_folder: Path) -> Path:
    """Enough clips that a signal meets a run in its midst."""
    source = sorted(small_folder.rglob("*.mp4"))
    for number in range(120):
        shutil.copy(source[number % 5], small_folder / "a" / f"copy{number}.mp4")
    return small_folder


def test_two_runs_at_once_on_one_folder_the_second_is_refused(many_clips: Path, tmp_path: Path, vidbench, start: Start):
    first = start(many_clips, tmp_path / "out")
    try:
        wait_for_rows(tmp_path / "out", 1)
        second = vidbench("run", many_clips, "--out", tmp_path / "out", "--metrics", ",".join(METRICS))
        assert second.returncode == 2
        assert "another vidbench run" in second.stderr
    finally:
        first.communicate(timeout=120)
    assert first.returncode == 0


def test_ctrl_c_exits_130_keeps_what_is_finished_and_the_same_command_goes_on(
    many_clips: Path, tmp_path: Path, start: Start
):
    process = start(many_clips, tmp_path / "out")
    wait_for_rows(tmp_path / "out", 3)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in stderr, stderr.decode()
    assert "goes on from there" in stderr.decode().strip().splitlines()[-1], stderr.decode()
    finished = (tmp_path / "out" / "clips.jsonl").read_bytes().count(b"\n")
    assert 3 <= finished < 125
    run(many_clips, tmp_path / "out", cache=False)
    run(many_clips, tmp_path / "whole", jobs=2)
    assert sorted_scores(tmp_path / "out") == sorted_scores(tmp_path / "whole")


def test_killed_at_random_moments_and_resumed_it_ends_the_same(many_clips: Path, tmp_path: Path, start: Start):
    run(many_clips, tmp_path / "whole", jobs=2)
    pause = random.Random(0)
    for attempt in range(3):
        out = tmp_path / f"out{attempt}"
        process = start(many_clips, out)
        wait_for_rows(out, 1)
        time.sleep(pause.uniform(0, 0.6))
        process.kill()
        process.communicate(timeout=60)
        listener = Quiet()
        finished = {json.loads(row)["clip"] for row in (out / "clips.jsonl").read_bytes().split(b"\n")[:-1]}
        execute(Request(clips=many_clips, out=out, metrics=METRICS, jobs=2, cache=False), listener)
        assert not finished & set(listener.done)
        assert sorted_scores(out) == sorted_scores(tmp_path / "whole")


STRANGE = """
import os, time
from dataclasses import dataclass
import numpy as np
from vidbench.extractor import Extractor, Observation, Session
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, Score

@dataclass(frozen=True)
class Seen(Observation):
    frames: int

class Strange(Extractor):
    name = "strange"; version = "1"; summary = "s"; observation_type = Seen
    def open(self, clip):
        class S(Session):
            n = 0
            def push(self, frames):
                self.n += len(frames)
                if clip.id == "a/0.mp4":
                    BEHAVE
            def close(self):
                return Seen(self.n)
        return S()

class Odd(ClipMetric):
    name = "odd"; version = "1"; summary = "s"; reference = "r"; protocol = "p"; higher_is_better = True
    unit = "1"; value_range = (0.0, 1e9); aggregation = "mean"; needs = Needs((ExtractorSpec("strange"),))
    def score(self, observations, clip):
        return RETURN
"""
ENTRIES = "[vidbench.metrics]\nodd = strange_plug:Odd\n[vidbench.extractors]\nstrange = strange_plug:Strange\n"


@pytest.mark.parametrize(
    ("behave", "answer", "reason", "failed"),
    [
        ("raise KeyError('lost')", "Score(1.0)", "strange raised KeyError: 'lost'", False),
        ("pass", "1 / 0", "odd raised ZeroDivisionError", False),
        ("pass", "Score(float('nan'))", "must be finite, got nan", False),
        ("pass", "3.5", "returned a float, not a Score", False),
        ("self.n = [3]", "Score(1.0)", "Seen.frames is a list", False),
        ("raise SystemExit(0)", "Score(1.0)", "strange raised SystemExit", False),
        ("pass", "exit(0)", "odd raised SystemExit", False),
        ("pass", "Score(-1.0)", "outside its range of 0 to 1e+09", False),
        ("pass", "Score(1.0, details={'x': float('nan')})", "odd raised ValueError", False),
        ("pass", "Score(1.0, details={'x': np.float32(2)})", "odd raised TypeError", False),
        ("os._exit(7)", "Score(1.0)", "exit code 7", True),
        ("os.kill(os.getpid(), 11)", "Score(1.0)", "SIGSEGV", True),
        ("time.sleep(60)", "Score(1.0)", "--clip-timeout", True),
    ],
)
def test_a_strangers_fault_costs_its_own_score_and_no_more(
    small_folder: Path, tmp_path: Path, install_plugin, behave, answer, reason, failed
):
    install_plugin("strange-plug", STRANGE.replace("BEHAVE", behave).replace("RETURN", answer), ENTRIES)
    result = run(small_folder, tmp_path / "out", metrics=("odd", "exposure"), clip_timeout=8.0, jobs=2)
    odd = {row.clip: row for row in result.run.scores if row.metric == "odd"}
    exposure = {row.clip: row for row in result.run.scores if row.metric == "exposure"}
    assert reason in odd["a/0.mp4"].reason
    assert (exposure["a/0.mp4"].value is None) == failed
    others = [clip for clip in odd if clip != "a/0.mp4"]
    assert len(others) == 4
    assert all(exposure[clip].value is not None for clip in others)
    if behave != "pass":
        assert all(odd[clip].value == 1.0 for clip in others)


def test_numpys_numbers_are_numbers(small_folder: Path, tmp_path: Path, install_plugin):
    finding = "Finding('freeze', np.int64(1), np.int64(2), 'x', confidence=np.float32(0.5))"
    answer = f"Score(np.float32(1.5), findings=({finding},))"
    source = STRANGE.replace("BEHAVE", "pass").replace("RETURN", answer)
    source = source.replace("ClipMetric, ExtractorSpec", "ClipMetric, Finding, ExtractorSpec")
    install_plugin("strange-plug", source, ENTRIES)
    result = run(small_folder, tmp_path / "out", metrics=("odd",))
    assert {row.value for row in result.run.scores} == {1.5}
    assert {(f.start, f.end, f.confidence) for f in result.run.findings} == {(1, 2, 0.5)}


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    return []


def test_workers_that_are_killed_at_whatever_moment_are_replaced(many_clips: Path, tmp_path: Path, start: Start):
    process = start(many_clips, tmp_path / "out")
    moment = random.Random(0)
    killed = 0
    for n in (2, 20, 40, 60, 80, 100):
        wait_for_rows(tmp_path / "out", n)
        time.sleep(moment.uniform(0, 0.05))
        for worker in workers_of(process):
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
                killed += 1
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr.decode()
    assert killed >= 6
    rows = [json.loads(line) for line in (tmp_path / "out" / "clips.jsonl").read_text().splitlines()]
    assert len({row["clip"] for row in rows}) == len(rows) == 125
    failed = [row["reason"] for row in rows if row["status"] == "failed"]
    assert len(failed) <= killed
    assert all("SIGKILL" in reason for reason in failed)


def test_workers_that_cannot_begin_end_the_run_with_the_cause(small_folder: Path, tmp_path: Path):
    """A script without a main guard starts itself anew in every worker."""
    script = tmp_path / "evaluate.py"
    script.write_text(
        "from pathlib import Path\n"
        "from told_nothing import Quiet\n"
        "from vidbench.run.engine import Request, execute\n"
        f"request = Request(clips=Path({str(small_folder)!r}), out=Path({str(tmp_path / 'out')!r}), cache=False)\n"
        "execute(request, Quiet())\n"
    )
    (tmp_path / "told_nothing.py").write_text(
        "class Quiet:\n    def __getattr__(self, name):\n        return lambda *_, **__: None\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "before they could work (exit code 1)" in done.stderr
    assert "if __name__ == '__main__':" in done.stderr


def test_no_process_outlives_a_killed_run(many_clips: Path, tmp_path: Path, start: Start):
    process = start(many_clips, tmp_path / "out")
    wait_for_rows(tmp_path / "out", 1)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_failed_clips_are_tried_again_only_when_asked(small_folder: Path, tmp_path: Path, install_plugin):
    (small_folder / "a" / "bad.mp4").write_bytes(b"")
    flag = tmp_path / "slow"
    flag.touch()
    behave = f"time.sleep(60 if os.path.exists({str(flag)!r}) else 0)"
    install_plugin("strange-plug", STRANGE.replace("BEHAVE", behave).replace("RETURN", "Score(1.0)"), ENTRIES)
    first = run(small_folder, tmp_path / "out", metrics=("odd",), clip_timeout=4.0)
    assert [row.clip for row in first.run.clips if row.status == "failed"] == ["a/0.mp4", "a/bad.mp4"]
    assert run(small_folder, tmp_path / "out", metrics=("odd",)).computed == 0
    flag.unlink()
    again = run(small_folder, tmp_path / "out", metrics=("odd",), retry_failed=True)
    assert again.computed == 2
    assert [row.clip for row in again.run.clips if row.status == "failed"] == ["a/bad.mp4"]


def test_scores_lost_in_a_power_cut_are_computed_again(small_folder: Path, tmp_path: Path):
    run(small_folder, tmp_path / "out")
    before = sorted_scores(tmp_path / "out")
    lines = (tmp_path / "out" / "scores.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "scores.jsonl").write_text("".join(lines[:5]))
    again = run(small_folder, tmp_path / "out")
    assert again.computed >= 3
    assert sorted_scores(tmp_path / "out") == before


def test_lost_pictures_are_made_again(small_folder: Path, tmp_path: Path):
    run(small_folder, tmp_path / "out")
    next((tmp_path / "out" / "media").glob("*.mp4")).unlink()
    assert run(small_folder, tmp_path / "out").computed == 1
    assert len(list((tmp_path / "out" / "media").glob("*.mp4"))) == 5


def test_a_clip_counts_as_finished_only_when_all_of_it_is_written(small_folder: Path, tmp_path: Path, monkeypatch):
    written = []
    append = RunStore._append

    def recorded(self, name, rows):
        written.append(name)
        append(self, name, rows)

    monkeypatch.setattr(RunStore, "_append", recorded)
    run(small_folder, tmp_path / "out")
    per_clip = [name for name in written if name != "references.jsonl"]
    assert per_clip[:6] == ["scores.jsonl", "findings.jsonl", "clips.jsonl"] * 2


def test_overwriting_spares_what_is_not_a_run_and_goes_on_with_the_same_run(small_folder: Path, tmp_path: Path):
    strange = tmp_path / "project"
    (strange / "media").mkdir(parents=True)
    (strange / "run.json").write_text('{"foo": 1}')
    (strange / "media" / "holiday.mp4").write_text("dear")
    with pytest.raises(RunFolderError, match=r"run\.json"):
        run(small_folder, strange, overwrite=True)
    assert (strange / "media" / "holiday.mp4").read_text() == "dear"
    run(small_folder, tmp_path / "out")
    assert run(small_folder, tmp_path / "out", overwrite=True).computed == 0
    assert run(small_folder, tmp_path / "out", overwrite=True, metrics=("exposure",)).computed == 5


def test_the_cache_knows_another_rate_and_another_kind_of_file(small_folder: Path, tmp_path: Path):
    first = run(small_folder, tmp_path / "first", metrics=("motion_magnitude",))
    faster = run(small_folder, tmp_path / "second", metrics=("motion_magnitude",), fps=16.0)
    for slow, fast in zip(first.run.scores, faster.run.scores, strict=True):
        assert fast.value == pytest.approx(2 * slow.value, rel=0.01)


def test_a_broken_file_beside_the_true_clips_leaves_them_the_yardstick(small_folder: Path, tmp_path: Path):
    (small_folder / "b" / "thumb.png").write_text("not a picture")
    result = run(small_folder, tmp_path / "out", reference=small_folder / "b")
    assert [(o.model, o.rank) for o in result.run.summary.overall] == [("a", 1), ("b", None)]
    assert any("thumb.png" in warning for warning in result.run.summary.warnings)


def test_pairs_run_where_metadata_names_the_true_clip(small_folder: Path, tmp_path: Path):
    metadata = "file_name,reference\na/0.mp4,b/1.mp4\na/2.mp4,b/same.mp4\na/4.mp4,b/broken.mp4\n"
    (small_folder / "metadata.csv").write_text(metadata)
    (small_folder / "b" / "broken.mp4").write_bytes(b"")
    shutil.copy(small_folder / "a" / "2.mp4", small_folder / "b" / "same.mp4")
    result = run(small_folder, tmp_path / "out", metrics=("psnr", "ssim"))
    psnr = {row.clip: row for row in result.run.scores if row.metric == "psnr"}
    assert psnr["a/2.mp4"].value == 100.0
    assert 5 < psnr["a/0.mp4"].value < 60
    assert "broken.mp4: empty file" in psnr["a/4.mp4"].reason
    assert "no reference clip is named" in psnr["b/3.mp4"].reason


def test_without_names_what_cannot_run_is_left_out_with_the_remedy(small_folder: Path, tmp_path: Path):
    result = run(small_folder, tmp_path / "out", metrics=())
    left = {item.metric: item.reason for item in result.run.info.left_out}
    assert "--reference" in left["frechet_frame_distance"]
    assert "--pair-by-name" in left["psnr"]
    assert "temporal_flickering" in {m.name for m in result.run.info.metrics}


def test_what_the_user_named_stays_and_is_unscored_with_the_reason(small_folder: Path, tmp_path: Path):
    result = run(small_folder, tmp_path / "out", metrics=("psnr", "exposure"))
    assert {row.reason for row in result.run.scores if row.metric == "psnr"} == {
        next(row.reason for row in result.run.scores if row.metric == "psnr")
    }
    assert "reference" in next(row.reason for row in result.run.scores if row.metric == "psnr")
    assert result.run.summary.score("a", "psnr").n_unscored == 3
