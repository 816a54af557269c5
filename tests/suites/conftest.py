"""What the tests of the physics suite share."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidbench.errors import VidbenchError
from vidbench.video import encode_h264
from vidbench_suites.physics import make as suite
from vidbench_suites.physics.scenarios import CONTROLS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def footage_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips in place of real ones: smooth noise that a camera pans over, and a fixed one."""
    folder = tmp_path_factory.mktemp("footage")
    import cv2

    for number, speed in enumerate((0, 1)):
        rng = np.random.default_rng(number)
        wide = np.asarray(cv2.resize(rng.uniform(40, 215, (18, 40, 3)).astype(np.float32), (320, 144)))
        frames = [wide[:, speed * frame : speed * frame + 192].astype(np.uint8) for frame in range(60)]
        encode_h264(folder / f"{number}.mp4", frames, 24.0)
    return folder


def needs(look: str) -> None:
    """Skip, with the reason, where the look cannot be drawn."""
    module = importlib.import_module(f"vidbench_suites.physics.{look}")
    try:
        if look == "composite":
            importlib.import_module("vidbench_suites.physics.planar").engine()
        else:
            module.check()
    except VidbenchError as error:
        pytest.skip(str(error))


@pytest.fixture(params=suite.LOOKS)
def look(request: pytest.FixtureRequest) -> str:
    """Every look that can be drawn here."""
    needs(request.param)
    return str(request.param)


@pytest.fixture
def options(footage_folder: Path) -> suite.Options:
    """Tiny clips."""
    return suite.Options(
        seed=3, pairs=1, controls=1, backgrounds=footage_folder, scene={"sizes": ((96, 72),), "rates": (12.0, 15.0)}
    )


@pytest.fixture(scope="session")
def whole_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A pair of every kind and a clip of every control, flat and tiny."""
    needs("flat2d")
    folder = tmp_path_factory.mktemp("physics") / "set"
    small = {"sizes": ((96, 72),), "rates": (12.0, 15.0)}
    suite.make(folder, suite.Options(seed=4, pairs=1, controls=1, looks=("flat2d",), scene=small))
    yield folder


def job(look: str, what: str, number: int = 0) -> suite.Job:
    """The job of a kind or control."""
    return suite.Job(look, what, what in CONTROLS, number, f"{number:04d}")


def drawn(look: str, what: str, options: suite.Options, number: int = 0) -> tuple[suite.Stage, list[suite.Clip]]:
    """A job's stage and clips, not rendered yet."""
    draw = suite.draw_control if what in CONTROLS else suite.draw_pair
    return draw(job(look, what, number), replace(options, looks=(look,)))
