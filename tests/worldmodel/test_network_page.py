"""docs/worldmodel-network.md: its example runs, its pictures are there, its table is what is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "worldmodel-network.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    torch.testing.assert_close(names["drawn"], names["past"][:, -3:])  # a fresh network repeats the last frame
    assert names["network"].patch_out.weight.grad.abs().sum() > 0


def test_pictures_are_beside_the_page() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    assert len(pictures) == 3
    for name in pictures:
        assert (PAGE.parent / name).read_text(encoding="utf-8").startswith("<svg ")


def test_the_table_of_tokens_is_what_the_command_prints(vidbench) -> None:
    (line,) = re.findall(r"^ {4}vidbench (tokens .*)$", TEXT, re.MULTILINE)
    printed = vidbench(*line.split()).stdout
    for figure in ("46.7 G", "6.21 PFLOP", "359 TFLOP", "201 TFLOP", "2,992", "1/59", "1/750"):
        assert figure in printed
        assert figure in TEXT
