"""`vidbench vbench-total` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vidbench.cli.vbench_total import read_table
from vidbench.errors import InputError
from vidbench_suites.vbench import DIMENSIONS

# VideoCrafter-2.0 on VBench's leaderboard, as Show-o2 prints it (arXiv 2506.15564v3); 80.44 Total, 82.20, 73.42.
ROW = {
    "subject consistency": "96.85%",
    "background consistency": "98.22%",
    "temporal flickering": "98.41%",
    "motion smoothness": "97.73%",
    "dynamic degree": "42.50%",
    "aesthetic quality": "63.13%",
    "imaging quality": "67.22%",
    "object class": "92.55%",
    "multiple objects": "40.66%",
    "human action": "95.00%",
    "color": "92.92%",
    "spatial relationship": "35.86%",
    "scene": "55.29%",
    "appearance style": "25.13%",
    "temporal style": "25.84%",
    "overall consistency": "28.23%",
}


def table(path: Path, *rows: dict[str, str]) -> Path:
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_published_row(vidbench, tmp_path: Path) -> None:
    done = vidbench("vbench-total", table(tmp_path / "videocrafter.csv", ROW))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "videocrafter",
        "  as VBench:    Quality 82.20%, Semantic 73.42%, Total 80.44%",
        "  cut to 0 … 1: Quality 82.20%, Semantic 73.42%, Total 80.44%",
    ]


def test_several_models_and_json_and_what_lies_beyond(vidbench, tmp_path: Path) -> None:
    rows = [{"Model": "one", **ROW}, {"Model": "two", **ROW, "motion smoothness": "0.9999"}]
    path = table(tmp_path / "rows.csv", *rows)
    done = vidbench("vbench-total", path)
    assert "  normalised beyond 0 … 1: motion_smoothness 1.0082" in done.stdout
    found = json.loads(vidbench("vbench-total", path, "--json").stdout)
    assert list(found) == ["one", "two"]
    assert found["one"]["raw"]["total"] == pytest.approx(0.8044, abs=5e-5)
    assert found["one"]["raw"] == found["one"]["clamped"]
    assert found["two"]["raw"]["quality"] > found["two"]["clamped"]["quality"]
    assert set(found["two"]["normalised"]) == set(DIMENSIONS)


def test_underscores_spaces_case_order_and_further_columns_make_no_difference(tmp_path: Path) -> None:
    other = {"date": "2025-01-01", **{k.upper().replace(" ", "_"): v for k, v in reversed(ROW.items())}}
    expected = read_table(table(tmp_path / "x.csv", ROW))
    assert read_table(table(tmp_path / "x.csv", other)) == expected
    (tmp_path / "x.csv").write_text("\ufeff" + (tmp_path / "x.csv").read_text(), encoding="utf-8")
    assert read_table(tmp_path / "x.csv") == expected


def _without(*names: str) -> dict[str, str]:
    return {key: value for key, value in ROW.items() if key not in names}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [_without("scene", "temporal style")],
            "lacks 2 of VBench's 16 dimensions: scene, temporal_style; VBench would count them as 0, which is no "
            "score: add the columns",
        ),
        ([{**ROW, "scene": "55.29"}], "row 2: scene is 55.29, outside 0 to 1; if it is per cent, write 55.29%"),
        ([{**ROW, "scene": "-0.1"}], "row 2: scene is -0.1, outside 0 to 1"),
        ([{**ROW, "temporal style": "-1.5"}], "row 2: temporal_style is -1.5, outside -1 to 1"),
        ([{**ROW, "color": "nan"}], "row 2: color is nan, outside 0 to 1"),
        ([{**ROW, "color": "high"}], "row 2: color is 'high', which is no number"),
        ([{**ROW, "color": ""}], "row 2: color is empty"),
        ([ROW, ROW], "has 2 rows of values and no column 'model' that tells them apart; add one, or keep one row"),
        ([{"model": "a", **ROW}, {"model": "a", **ROW}], "row 3: 'a' stands twice; every row needs a name of its own"),
        ([{**ROW, "Scene": "0.5"}], "has the column 'scene' twice"),
    ],
)
def test_what_cannot_be_used_is_one_line(vidbench, tmp_path: Path, rows: list[dict[str, str]], said: str) -> None:
    path = table(tmp_path / "scores.csv", *rows)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_files_exit_with_2_and_one_line(vidbench, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "short.csv").write_text("\n".join([",".join(ROW), "0.5,0.5"]))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name, said in (
        ("absent.csv", "cannot be read (No such file or directory)"),
        ("empty.csv", "has no row of values"),
        ("short.csv", "row 2 has 2 cells, the line of names has 16"),
        ("binary.csv", "cannot be read (it is not UTF-8 text)"),
    ):
        done = vidbench("vbench-total", tmp_path / name)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert said in done.stderr


def test_a_cosine_may_be_negative(tmp_path: Path) -> None:
    found = read_table(table(tmp_path / "x.csv", {**ROW, "temporal style": "-0.01"}))
    assert found["x"]["temporal_style"] == -0.01
