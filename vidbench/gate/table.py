"""Tables of a TOML file, read key by key with errors that name the line."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

from vidbench.errors import PolicyError


class Places:
    """Where tables and keys stand in the file.

    tomllib does not tell, so lines are looked for; a key that is written in an unusual way is reported at its table.
    """

    _HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\"'-]+)\s*\]")
    _KEY = re.compile(r"\s*[\"']?([\w-]+)[\"']?\s*[=.]")

    def __init__(self, source: str, text: str) -> None:
        self.source = source
        self._lines: dict[tuple[str, int, str], int] = {}
        section, number, met = "", 0, dict[str, int]()
        for line, content in enumerate(text.splitlines(), 1):
            header = self._HEADER.match(content)
            if header is not None:
                section = header[2]
                met[section] = number = met.get(section, -1) + 1
                self._lines[section, number, ""] = line
                continue
            key = self._KEY.match(content)
            if key is not None:
                self._lines.setdefault((section, number, key[1]), line)

    def line(self, section: str, number: int, key: str | None) -> int | None:
        """The line of a key, else of its table, else of the key that an inline table is the value of."""
        parent, _, own = section.rpartition(".")
        tried = [(section, number, key or ""), (section, number, ""), (parent, 0, own)]
        if key is not None:
            tried.insert(1, (f"{section}.{key}".lstrip("."), 0, ""))
        return next((self._lines[place] for place in tried if place in self._lines), None)

    def at(self, section: str, number: int, key: str | None) -> str:
        """`policy.toml line 7`."""
        line = self.line(section, number, key)
        return self.source if line is None else f"{self.source} line {line}"


class Table:
    """A table of the file, read key by key with checks."""

    def __init__(self, values: Mapping[str, Any], places: Places, section: str = "", number: int = 0) -> None:
        self.values = values
        self._places = places
        self._section = section
        self._number = number

    @property
    def line(self) -> int | None:
        """Of the table's header."""
        return self._places.line(self._section, self._number, None)

    def fault(self, key: str | None, message: str) -> PolicyError:
        """An error at a key, or at the table."""
        return PolicyError(f"{self._places.at(self._section, self._number, key)}: {message}")

    def only(self, *keys: str) -> None:
        """Refuse keys that the table does not have, with close matches."""
        for key in self.values:
            if key not in keys:
                close = difflib.get_close_matches(key, keys, n=2)
                hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(sorted(set(keys)))}"
                table = f" in [{self._section}]" if self._section else ""
                raise self.fault(key, f"no key is called '{key}'{table}; {hint}")

    def text(self, key: str) -> str | None:
        """Text that is not empty; None where the key is absent."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise self.fault(key, f"'{key}' wants text in quotes, got {_shown(value)}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.fault(key, f"'{key}' wants true or false, got {_shown(value)}")
        return value

    def number(
        self,
        key: str,
        low: float = -math.inf,
        high: float = math.inf,
        *,
        open_ends: bool = False,
        or_text: str | None = None,
    ) -> float | None:
        """A finite number within bounds; None where the key is absent. `or_text` is another value, for the error."""
        value = self.values.get(key)
        if value is None:
            return None
        inside = (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (low < value < high if open_ends else low <= value <= high)
        )
        if not inside:
            span = "a number" if math.isinf(low) else f"a number of at least {low:g}"
            if math.isfinite(high):
                span = f"a number {'between' if open_ends else 'from'} {low:g} {'and' if open_ends else 'to'} {high:g}"
            also = f', or "{or_text}"' if or_text else ""
            raise self.fault(key, f"'{key}' wants {span}{also}, got {_shown(value)}")
        return float(value)

    def whole(self, key: str) -> int | None:
        """A whole number of at least 0; None where the key is absent."""
        value = self.values.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise self.fault(key, f"'{key}' wants a whole number of at least 0, got {_shown(value)}")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """A list of texts, or one; empty where the key is absent."""
        value = self.values.get(key, [])
        listed_names = [value] if isinstance(value, str) else value
        if not isinstance(listed_names, list) or not all(isinstance(n, str) and n.strip() for n in listed_names):
            raise self.fault(key, f"'{key}' wants a list of names in quotes, got {_shown(value)}")
        return tuple(dict.fromkeys(listed_names))

    def table(self, key: str) -> Table:
        """An inner table; an empty one where the key is absent."""
        value = self.values.get(key, {})
        if not isinstance(value, Mapping):
            raise self.fault(key, f"'{key}' is a table: write [{key}] above its keys")
        return Table(value, self._places, f"{self._section}.{key}".lstrip("."), 0)

    def tables(self, key: str) -> list[Table]:
        """A list of tables."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
            raise self.fault(key, f"'{key}' is a list of tables: write [[{key}]] above each")
        return [Table(entry, self._places, key, number) for number, entry in enumerate(value)]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
