"""What all pages share: templates, style and scripts, the security policy, and text that can do nothing.

Text from outside reaches a page in one of two ways: through the templates, which escape it, or as data of a script,
which `safe_json` writes so that no string in it can end the element.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from vidbench import wording


@functools.cache
def environment() -> Environment:
    """Templates, with escaping of all that is put into them."""
    made = Environment(
        loader=PackageLoader("vidbench_reports", "html_template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        breakable=breakable,
        plain=wording.plain,
        arrow=wording.arrow,
        value_range=wording.value_range,
        compact_json=lambda value: json.dumps(value, ensure_ascii=False, sort_keys=True, default=str),
    )
    made.globals["counted"] = wording.count
    return made


@functools.cache
def asset(name: str) -> str:
    """A style or script of ours as text."""
    return (Path(__file__).parent / "html_template" / name).read_text(encoding="utf-8")


def csp_hash(text: str) -> str:
    """A content security policy's name for an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def breakable(text: str) -> Markup:
    """A name that may be broken after its underscores."""
    return Markup("_<wbr>").join(escape(part) for part in wording.plain(text).split("_"))


def when(created: str) -> str:
    """A moment as people read it."""
    try:
        return f"{datetime.fromisoformat(created):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return created


def safe_json(value: Any) -> Markup:
    """JSON that can stand in a `<script>` whatever its strings hold: no `<`, no `&`, ASCII only."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - nothing in it can end the element
