"""The same scores from a Ray cluster as from local processes, and the same words for a clip whose worker is lost."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from vidbench.run.engine import Request, execute

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install vidbench[ray]"
    ),
    # Ray leaves its own sockets and log files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
METRICS = ("temporal_flickering", "exposure", "motion_magnitude")


class Quiet:
    def selected(self, folder, selection) -> None: ...

    def begins(self, total, finished, jobs) -> None: ...

    def clip_done(self, row) -> None: ...

    def finalising(self, what) -> None: ...


def test_ray_gives_the_scores_of_local_and_ends_a_clip_over_its_time(small_folder: Path, tmp_path: Path):
    (small_folder / "b" / "empty.mp4").write_bytes(b"")
    requests = {
        engine: Request(clips=small_folder, out=tmp_path / engine, metrics=METRICS, engine=engine, jobs=2, cache=False)
        for engine in ("local", "ray")
    }
    for request in requests.values():
        execute(request, Quiet())
    lines = {e: sorted((tmp_path / e / "scores.jsonl").read_text().splitlines()) for e in requests}
    assert lines["ray"] == lines["local"]
    assert len(lines["ray"]) == 6 * len(METRICS)

    late = execute(
        Request(
            clips=small_folder, out=tmp_path / "late", metrics=("exposure",), engine="ray", jobs=1, clip_timeout=0.001
        ),
        Quiet(),
    )
    reasons = [row.reason for row in late.run.clips if row.status == "failed" and row.clip != "b/empty.mp4"]
    assert len(reasons) == 5
    assert all("--clip-timeout" in str(reason) for reason in reasons)
