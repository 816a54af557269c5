"""Metadata tables and action files: what is read, and what each kind of bad input says."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidbench.errors import ClipError, MetadataError, MissingExtraError
from vidbench.metadata import MetadataRow, actions_array, read_actions, read_metadata


@pytest.fixture
def read(tmp_path: Path):
    def from_bytes(content: bytes | str, name: str = "metadata.csv") -> list[MetadataRow]:
        path = tmp_path / name
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return read_metadata(path, name)

    return from_bytes


FULL = {
    "file_name": "a/1.mp4",
    "model": "m",
    "prompt": "a cat, a dog",
    "seed": 7,
    "reference": "true/1.mp4",
    "actions": "a/1.json",
    "fps": 12.5,
    "pixels_per_meter": 100,
    "gravity": [0, 1],
    "category": "pets",
}


def _check_full(row: MetadataRow, where: str, category: object = "pets") -> None:
    assert row == MetadataRow(
        where=where,
        file_name="a/1.mp4",
        model="m",
        prompt="a cat, a dog",
        seed=7,
        reference="true/1.mp4",
        actions="a/1.json",
        fps=12.5,
        pixels_per_meter=100.0,
        gravity=(0.0, 1.0),
        extra={"category": category},
    )


def test_csv_reads_every_column(read) -> None:
    header = ",".join(FULL)
    [row] = read(f'{header}\na/1.mp4,m,"a cat, a dog",7,true/1.mp4,a/1.json,12.5,100,"[0, 1]",pets\n')
    _check_full(row, "metadata.csv line 2")


def test_jsonl_reads_every_column(read) -> None:
    [row] = read(json.dumps(FULL) + "\n", "metadata.jsonl")
    _check_full(row, "metadata.jsonl line 1")


def test_parquet_reads_every_column(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    pq = pytest.importorskip("pyarrow.parquet", reason="the extra 'parquet' is not installed")
    path = tmp_path / "metadata.parquet"
    pq.write_table(pa.table({key: [value] for key, value in FULL.items()}), path)
    [row] = read_metadata(path, "metadata.parquet")
    _check_full(row, "metadata.parquet row 1")
    pq.write_table(pa.table({"file": ["a.mp4"]}), path)
    with pytest.raises(MetadataError, match="no column 'file_name'; its columns are 'file'"):
        read_metadata(path, "metadata.parquet")
    path.write_bytes(b"PAR1 not at all")
    with pytest.raises(MetadataError, match=r"metadata\.parquet is not a readable Parquet file"):
        read_metadata(path, "metadata.parquet")


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r"metadata.parquet needs .* pip install 'vidbench\[parquet\]'"):
        read_metadata(tmp_path / "metadata.parquet", "metadata.parquet")


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_line_endings_and_byte_order_mark(read, ending: str, mark: str) -> None:
    rows = read(mark + ending.join(["file_name,prompt", "1.mp4,ein Öl-Bär 🐻", "2.mp4,"]) + ending)
    assert [(row.where, row.file_name, row.prompt) for row in rows] == [
        ("metadata.csv line 2", "1.mp4", "ein Öl-Bär 🐻"),
        ("metadata.csv line 3", "2.mp4", None),
    ]


def test_csv_quotes_and_line_numbers_after_a_newline_inside_a_cell(read) -> None:
    rows = read('file_name,prompt\n1.mp4,"two\nlines, ""quoted"""\n\n2.mp4,next\n,,\n')
    assert [(row.where, row.prompt) for row in rows] == [
        ("metadata.csv line 2", 'two\nlines, "quoted"'),
        ("metadata.csv line 5", "next"),
    ]


def test_csv_ragged_rows(read) -> None:
    long, short, padded = read("file_name,prompt,seed\n1.mp4,people, dancing,3\n2.mp4\n3.mp4,a,1,,\n")
    assert long.file_name == "1.mp4"
    assert long.problem == "metadata.csv line 2 has 4 cells and the header 3: put text with commas in quotes"
    assert (short.file_name, short.prompt, short.problem) == ("2.mp4", None, None)
    assert (padded.prompt, padded.seed, padded.problem) == ("a", 1, None)


def test_csv_cell_larger_than_the_csv_modules_limit(read) -> None:
    actions = [[i, i] for i in range(40_000)]
    [row] = read(f'file_name,actions\n1.mp4,"{json.dumps(actions)}"\n')
    assert row.actions == tuple(actions)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "metadata.csv is empty: its first line must name the columns, 'file_name' among them"),
        (b"\n \n", "metadata.csv is empty"),
        (b"path,prompt\n1.mp4,a\n", r"no column 'file_name'; its columns .* are 'path', 'prompt'"),
        (b"file_name;prompt\n1.mp4;a\n", r"separated by commas\) are 'file_name;prompt'"),
        (b"file_name,prompt,prompt\n1.mp4,a,b\n", "two columns 'prompt'"),
        ("file_name,prompt\n1.mp4,a\n2.mp4,Bär\n".encode("latin-1"), r"not UTF-8 \(line 3\): save it as UTF-8"),
        ("file_name,prompt\n1.mp4,a\n".encode("utf-16"), "not UTF-8"),
        (b'file_name,prompt\n1.mp4,"a\n2.mp4,b\n', "not valid CSV: .*quotes"),
    ],
)
def test_unusable_csv(read, content: bytes, message: str) -> None:
    with pytest.raises(MetadataError, match=message) as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_header_only_and_empty_jsonl_have_no_rows(read) -> None:
    assert read("file_name,prompt\n") == []
    assert read("", "metadata.jsonl") == []


def test_jsonl_broken_lines_fail_alone(read) -> None:
    rows = read(
        '{"file_name": "1.mp4"}\n\n{"file_name": \n[1]\n{"prompt": "a"}\n{"file_name": 5}\n'
        '{"file_name": "2.mp4", "prompt": "\\ud800"}\n' + "[" * 100_000 + '\n{"file_name": "3.mp4"}',
        "metadata.jsonl",
    )
    assert [row.file_name for row in rows] == ["1.mp4", None, None, None, None, None, None, "3.mp4"]
    problems = [row.problem or "" for row in rows]
    assert problems[1].startswith("metadata.jsonl line 3 is not valid JSON")
    assert problems[2] == "metadata.jsonl line 4 is not a JSON object"
    assert problems[3] == "metadata.jsonl line 5 has no file_name"
    assert problems[4] == "metadata.jsonl line 6 has a file_name that is no text: 5"
    assert problems[5].startswith("metadata.jsonl line 7 is not valid JSON")
    assert problems[6].startswith("metadata.jsonl line 8 is not valid JSON")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[\n {"file_name": "1.mp4"},\n {"file_name": "2.mp4"},\n]', "no usable line"),
        ("[1, 2]\n", "no usable line"),
        ('{"file": "1.mp4"}\n{"prompt": "a"}\n', "no column 'file_name'; its columns are 'file', 'prompt'"),
    ],
)
def test_unusable_jsonl(read, content: str, message: str) -> None:
    with pytest.raises(MetadataError, match=message):
        read(content, "metadata.jsonl")


def test_jsonl_keeps_line_separators_inside_text(read) -> None:
    [row] = read('{"file_name": "1.mp4", "prompt": "a\u2028b"}\n', "metadata.jsonl")
    assert row.prompt == "a\u2028b"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("fps", "abc"),
        ("fps", 0),
        ("fps", -24),
        ("fps", True),
        ("fps", math.inf),
        ("fps", [24]),
        ("seed", "x"),
        ("seed", 1.5),
        ("seed", False),
        ("pixels_per_meter", 0),
        ("gravity", [0, 0]),
        ("gravity", [1]),
        ("gravity", "down"),
        ("gravity", {"x": 1}),
        ("model", ["m"]),
        ("prompt", {"text": "a"}),
        ("reference", 3),
        ("actions", {"0": "left"}),
        ("actions", [[1, 2], [3]]),
        ("actions", "[1, 2"),
        ("actions", [10**400]),
    ],
)
def test_bad_value_names_line_column_and_value(read, column: str, value: object) -> None:
    [row] = read(json.dumps({"file_name": "1.mp4", column: value}) + "\n", "metadata.jsonl")
    assert row.file_name == "1.mp4"
    assert row.problem is not None
    assert row.problem.startswith(f"metadata.jsonl line 1: {column} must be ")
    assert f"got {value!r}"[:40] in row.problem


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("seed", "12345678901234567890", 12345678901234567890),
        ("seed", "3.0", 3),
        ("seed", 3.0, 3),
        ("seed", -1, -1),
        ("fps", "23.976", 23.976),
        ("fps", math.nan, None),
        ("fps", " ", None),
        ("model", 7, "7"),
        ("model", " m ", "m"),
        ("gravity", "0.6 -0.8", (0.6, -0.8)),
        ("gravity", "(1,0)", (1.0, 0.0)),
        ("actions", ["left", "right"], ("left", "right")),
        ("actions", "[0, 1.5]", (0, 1.5)),
    ],
)
def test_good_values(read, column: str, value: object, expected: object) -> None:
    [row] = read(json.dumps({"file_name": "1.mp4", column: value}) + "\n", "metadata.jsonl")
    assert row.problem is None
    assert getattr(row, column) == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_a_metadata_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name in ("metadata.csv", "metadata.jsonl"):
        for lead in (b"", b"file_name,fps\n"):
            (folder / name).write_bytes(lead + content)
            try:
                rows = read_metadata(folder / name, name)
            except MetadataError as error:
                assert name in str(error)
            else:
                assert all(row.where.startswith(name) and (row.file_name or row.problem) for row in rows)


def _actions(tmp_path: Path, name: str, content: bytes | str) -> object:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_actions(path)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", "[1, 2.5, -3]", [[1], [2.5], [-3]]),
        ("a.json", "[[1, 2], [3, 4], [5, 6]]", [[1, 2], [3, 4], [5, 6]]),
        ("a.json", "[true, false]", [[1], [0]]),
        ("a.json", "\ufeff[1]", [[1]]),
        ("a.csv", "1,2\n3,4\n\n", [[1, 2], [3, 4]]),
        ("a.csv", "dx,dy\n1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("a.csv", "action\n1\n2\n", [[1], [2]]),
    ],
)
def test_numeric_actions(tmp_path: Path, name: str, content: str, expected: list[list[float]]) -> None:
    actions = _actions(tmp_path, name, content)
    assert isinstance(actions, np.ndarray)
    assert actions.dtype == np.float64
    np.testing.assert_array_equal(actions, expected)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.json", '["left", "right"]', ("left", "right")),
        ("a.json", '[{"key": "w"}, {"key": "s"}]', ({"key": "w"}, {"key": "s"})),
        ("a.csv", "left\nright\n", ("left", "right")),
        ("a.csv", "action\nleft\nright\n", ("left", "right")),
        ("a.csv", "w,1\ns,0\n", (("w", "1"), ("s", "0"))),
    ],
)
def test_worded_actions(tmp_path: Path, name: str, content: str, expected: object) -> None:
    assert _actions(tmp_path, name, content) == expected


@pytest.mark.parametrize(
    "array",
    [
        np.arange(3),
        np.asfortranarray([[1, 2, 3], [4, 5, 6]]),
        np.ones((4, 2), np.float32),
        np.zeros((0, 3)),
        np.array([True, False]),
        np.zeros(0),
    ],
)
def test_npy_actions(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    actions = read_actions(tmp_path / "a.npy")
    assert isinstance(actions, np.ndarray)
    np.testing.assert_array_equal(actions, array[:, None] if array.ndim == 1 else array)
    assert actions.dtype == np.float64
    actions += 1  # a copy that may be changed, not the file


def test_npy_words(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array(["up", "down"]))
    assert read_actions(tmp_path / "a.npy") == ("up", "down")


def test_npy_is_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    np.save(tmp_path / "a.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(ClipError, match=r"actions 'a\.npy' cannot be used: it holds pickled objects"):
        read_actions(tmp_path / "a.npy")
    assert not (tmp_path / "exploded").exists()


def test_npy_that_promises_more_than_it_has_allocates_nothing(tmp_path: Path) -> None:
    for shape in [(10**10,), (10**30,), (10**10, 10**10), (-1,), (1, -3)]:
        with (tmp_path / "a.npy").open("wb") as file:
            header = {"descr": "<f8", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.write(bytes(24))
        with pytest.raises(ClipError, match=r"a\.npy"):
            read_actions(tmp_path / "a.npy")


def test_npy_with_a_broken_header(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    good = (tmp_path / "a.npy").read_bytes()
    rng = np.random.default_rng(0)
    (tmp_path / "a.npy").write_bytes(good.replace(b"(3,)", b"(3,("))
    with pytest.raises(ClipError, match=r"a\.npy"):
        read_actions(tmp_path / "a.npy")
    for _ in range(300):
        bad = bytearray(good)
        bad[rng.integers(8, 80)] = rng.integers(32, 127)
        (tmp_path / "a.npy").write_bytes(bad)
        try:
            read_actions(tmp_path / "a.npy")
        except ClipError as error:
            assert "a.npy" in error.reason


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "", "cannot be used"),
        ("a.json", '{"a": 1}', "must hold a list"),
        ("a.json", "[1, NaN]", "action 1 is not a finite number"),
        ("a.json", "[[1, 2], [3]]", "between 1 and 2 numbers"),
        ("a.json", "[1" + "0" * 400 + "]", "too large"),
        ("a.json", b"\xff", "cannot be used"),
        ("a.json", "[" * 100_000, "cannot be used"),
        ("a.csv", "1,2\n3\n", "between 1 and 2"),
        ("a.csv", "1\n\n3\n", "row 2 is blank"),
        ("a.csv", "1\ninf\n", "not a finite number"),
        ("a.csv", '"1\n2\n', "cannot be used"),
        ("a.npy", "", "cannot be used"),
        ("a.npy", b"PK\x03\x04", "cannot be used"),
        ("a.txt", "1", "read from .json, .csv, .npy"),
    ],
)
def test_bad_actions_name_the_file(tmp_path: Path, name: str, content: bytes | str, message: str) -> None:
    with pytest.raises(ClipError, match=message) as caught:
        _actions(tmp_path, name, content)
    assert name in caught.value.reason
    assert "\n" not in caught.value.reason


def test_npy_of_a_shape_that_is_no_list_of_actions(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4)))
    with pytest.raises(ClipError, match=r"not \(2, 3, 4\) float64"):
        read_actions(tmp_path / "a.npy")
    with pytest.raises(ClipError, match="No such file"):
        read_actions(tmp_path / "missing.npy")


def test_no_actions_are_an_empty_array() -> None:
    actions = actions_array([])
    assert isinstance(actions, np.ndarray)
    assert actions.shape == (0, 0)
