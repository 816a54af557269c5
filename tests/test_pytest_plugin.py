"""The fixture `assert_plausible`, in pytest sessions of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vidbench.demo import COLOURS, FPS, ball_clip
from vidbench.video import encode_h264

pytest_plugins = ["pytester"]

RED = COLOURS["red"]
QUICK = [f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "xdist", "pytest_cov", "anyio")]
"""Without plug-ins that every session would import anew."""


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Everything a check needs is loaded before the first session: pytester takes away what a session imports, and no
    compiled module can be loaded twice.
    """
    from vidbench.clips import find_clip
    from vidbench.run.one import score_one

    path = tmp_path_factory.mktemp("loaded") / "clip.npy"
    np.save(path, ball_clip(0, RED, jump=40))
    names = ("object_permanence", "gravity", "continuity", "solidity", "exposure")
    found = score_one(find_clip(path), metrics=names)
    assert found.write_evidence(path.parent, "loaded")


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs a test file in this process, where vidbench and its extractors are loaded already.

    The plug-in is found by its entry point, as an installed one is.
    """
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    np.save(pytester.path / "good.npy", ball_clip(0, RED))
    np.save(pytester.path / "bad.npy", ball_clip(0, RED, jump=40))
    # Snow is unlike everything that the checks were fitted on.
    np.save(pytester.path / "snow.npy", np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), np.uint8))

    def run(source: str, *args: str, ini: str = ""):
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
        pytester.makepyfile(f"import numpy as np\n{source}")
        return pytester.runpytest_inprocess("-rs", *QUICK, *args)

    return run


def test_a_plausible_array_passes(session):
    session(f'def test(assert_plausible): assert_plausible(np.load("good.npy"), fps={FPS})').assert_outcomes(passed=1)


def test_a_failure_names_finding_time_sentence_and_picture(session, pytester: pytest.Pytester):
    result = session(f'def test_it(assert_plausible): assert_plausible(np.load("bad.npy"), fps={FPS})')
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "AssertionError: clip 1 of test_it is not plausible by suite plausibility:" in text
    assert "teleport (continuity), frames 11 to 12, 0.92 s to 1.00 s, confidence 9" in text
    assert "Something is suddenly elsewhere within frames 11 to 12" in text
    picture = Path(next(line for line in text.splitlines() if "picture: " in line).split("picture: ")[1])
    assert picture.read_bytes()[:2] == b"\xff\xd8"
    assert "test_it0" in str(picture), "the test's own temporary folder"
    # The test's line is shown, not the plug-in's insides.
    assert "assert_plausible(np.load" in text
    assert "pytest_plugin.py" not in text


def test_pictures_go_where_the_setting_says(session, pytester: pytest.Pytester):
    source = f"""
def test_it(assert_plausible):
    assert_plausible(np.load("good.npy"), fps={FPS})
    assert_plausible(np.load("bad.npy"), fps={FPS})
"""
    session(source, ini="vidbench_evidence = proof\n").assert_outcomes(failed=1)
    names = sorted(path.name for path in (pytester.path / "proof").iterdir())
    assert names[0] == "test_it-2-0.jpg"


SNOW = """
def test_default(assert_plausible): assert_plausible(np.load("snow.npy"), fps=12)
def test_fail(assert_plausible): assert_plausible(np.load("snow.npy"), fps=12, unjudged="fail")
def test_skip(assert_plausible): assert_plausible(np.load("snow.npy"), fps=12, unjudged="skip")
"""


def test_a_clip_that_cannot_be_judged_is_skipped_with_the_reason(session):
    result = session(SNOW)
    result.assert_outcomes(skipped=2, failed=1)
    told = "clip 1 of {} could not be judged: unscored by *: not judged: object checks*"
    result.stdout.fnmatch_lines([f"E*AssertionError: {told.format('test_fail')}"])
    result.stdout.fnmatch_lines([f"SKIPPED * {told.format('test_default')}", f"SKIPPED * {told.format('test_skip')}"])


def test_a_setting_makes_a_clip_that_cannot_be_judged_fail(session):
    result = session(SNOW, ini="vidbench_unjudged = fail\n")
    result.assert_outcomes(skipped=1, failed=2)
    result.stdout.fnmatch_lines(["SKIPPED * clip 1 of test_skip could not be judged*"])


def test_a_clip_that_cannot_be_judged_is_let_through_only_with_a_warning(session):
    source = f"""
import pytest
from vidbench.pytest_plugin import UnjudgedWarning

def test(assert_plausible):
    with pytest.warns(UnjudgedWarning, match="clip 1 of test could not be judged"):
        assert_plausible(np.load("snow.npy"), fps={FPS}, unjudged="pass")
"""
    session(source).assert_outcomes(passed=1)


def test_a_path_works_and_a_file_that_cannot_be_read_fails(session, pytester: pytest.Pytester):
    encode_h264(pytester.path / "bad.mp4", ball_clip(0, RED, jump=40), FPS)
    (pytester.path / "cut.mp4").write_bytes((pytester.path / "bad.mp4").read_bytes()[:300])
    source = """
from pathlib import Path
def test_bad(assert_plausible): assert_plausible("bad.mp4")
def test_cut(assert_plausible): assert_plausible(Path("cut.mp4"), unjudged="pass")
def test_gone(assert_plausible): assert_plausible("gone.mp4", unjudged="pass")
"""
    result = session(source)
    result.assert_outcomes(failed=3)
    text = result.stdout.str()
    assert "bad.mp4 is not plausible" in text
    assert "cut.mp4 cannot be read" in text
    assert "gone.mp4: there is no such file" in text


def test_a_policy_of_ones_own(session, pytester: pytest.Pytester):
    (pytester.path / "dark.toml").write_text('policy = 1\n[[rule]]\nmetric = "exposure"\nmin = 2\n')
    (pytester.path / "loose.toml").write_text('policy = 1\n[[rule]]\nfindings = ["continuity"]\nmax_clips = 1\n')
    source = f"""
def test_dark(assert_plausible): assert_plausible(np.load("good.npy") // 9, fps={FPS}, policy="dark.toml")
def test_loose(assert_plausible): assert_plausible(np.load("bad.npy"), fps={FPS}, policy="loose.toml")
"""
    result = session(source)
    result.assert_outcomes(failed=1, passed=1)
    assert "exposure at least 2: exposure is" in result.stdout.str()


def test_what_is_no_clip_is_an_error_of_the_test(session):
    calls = {
        "np.zeros((3, 4, 4)), fps=8": r"wants a path or a uint8 array \(T, H, W, 3\), got float64 of \(3, 4, 4\)",
        "np.zeros((0, 4, 4, 3), np.uint8), fps=8": r"got uint8 of \(0, 4, 4, 3\)",
        'np.load("good.npy")': "wants fps with an array",
    }
    tests = [f"def test_{i}(assert_plausible): assert_plausible({call})" for i, call in enumerate(calls)]
    result = session("\n".join(tests))
    result.assert_outcomes(failed=3)
    for said in calls.values():
        result.stdout.re_match_lines([rf".*TypeError: .*{said}"])


def test_a_setting_that_is_none(session):
    result = session(
        f'def test(assert_plausible): assert_plausible(np.load("good.npy"), fps={FPS})', ini="vidbench_unjudged = no\n"
    )
    assert "vidbench_unjudged is 'no'; it is one of skip, fail, pass" in result.stdout.str()
    result.assert_outcomes(failed=1)


def test_the_plug_in_brings_nothing_heavy_to_a_session_that_does_not_use_it(pytester: pytest.Pytester):
    pytester.makepyfile("""
import sys

def test_light(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("vidbench")
    loaded = {"numpy", "scipy", "cv2", "av", "torch", "pandas", "click", "rich"} & set(sys.modules)
    assert not loaded
    assert {name for name in sys.modules if name.startswith("vidbench")} == {"vidbench", "vidbench.pytest_plugin"}
""")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *QUICK],
        cwd=pytester.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
