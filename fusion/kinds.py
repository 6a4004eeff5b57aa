"""Kinds of values in configuration files: what is allowed, how it is checked, how an error names it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from fusion.errors import SettingsError


class Kind(NamedTuple):
    """One kind of value: what is allowed, in words, how a value is checked (None: it is wrong), and how it is
    written in the environment, where everything is text."""

    allowed: str
    check: Callable[[Any], Any]
    from_text: Callable[[str], Any] = str

    def read(self, value: Any, where: str) -> Any:
        checked = self.check(value)
        if checked is None:
            raise SettingsError(f"{where}: must be {self.allowed}, not {shown(value)}")
        return checked


def integer(least: int, most: int) -> Kind:
    def check(value: Any) -> int | None:
        return value if type(value) is int and least <= value <= most else None

    def from_text(text: str) -> int | str:
        return int(text) if re.fullmatch("[0-9]{1,18}", text) else text

    return Kind(f"an integer from {least} to {most}", check, from_text)


def text(allowed: str) -> Kind:
    def check(value: Any) -> str | None:
        return value if isinstance(value, str) and value and "\0" not in value else None

    return Kind(allowed, check)


def path(allowed: str) -> Kind:
    readable = text(allowed).check

    def check(value: Any) -> Path | None:
        return value if isinstance(value, Path) else None if readable(value) is None else Path(value)

    return Kind(allowed, check)


def one_of(*names: str) -> Kind:
    return Kind(
        f"one of {', '.join(names)}",
        lambda value: value if isinstance(value, str) and value in names else None,
    )


def some_of(*names: str) -> Kind:
    """A list of one or more names, as a tuple in the order of `names`."""

    def check(value: Any) -> tuple[str, ...] | None:
        if not isinstance(value, list) or not value or any(name not in names for name in value):
            return None
        return tuple(name for name in names if name in value)

    return Kind(f"a list of one or more of {', '.join(names)}", check)


def matching(pattern: str, allowed: str) -> Kind:
    """A text of that pattern, in lower case."""

    def check(value: Any) -> str | None:
        return value.lower() if isinstance(value, str) and re.fullmatch(pattern, value) else None

    return Kind(allowed, check)


def _truth(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text.lower(), text)


BOOLEAN = Kind("true or false", lambda value: value if isinstance(value, bool) else None, _truth)
MOMENT = Kind(
    "a time with its zone, such as 2026-01-31T12:00:00Z",
    lambda value: value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else None,
)


class Setting(NamedTuple):
    """One setting of a table: its kind, what it does (sentences in Markdown), the unit of a number, and
    whether the file has to have it."""

    kind: Kind
    effect: str
    unit: str = ""
    required: bool = False


def read_table(table: Any, settings: Mapping[str, Setting], where: str) -> dict[str, Any]:
    """The checked values of a table. Raises SettingsError."""
    if not isinstance(table, dict):
        raise SettingsError(f"{where}: must be a table, not {shown(table)}")
    refuse_unknown(table, settings, f"{where}.")
    return {key: settings[key].kind.read(value, f"{where}.{key}") for key, value in table.items()}


def require(values: Mapping[str, Any], settings: Mapping[str, Setting], where: str) -> None:
    """Whether everything required is there. Raises SettingsError."""
    for key, setting in settings.items():
        if setting.required and key not in values:
            raise SettingsError(f"{where}.{key}: is missing; must be {setting.kind.allowed}")


def refuse_unknown(table: Mapping[str, Any], allowed: Iterable[str], prefix: str) -> None:
    for key in table:
        if key not in allowed:
            raise SettingsError(
                f"{prefix}{shown(key, bare=True)}: unknown setting; allowed: {', '.join(allowed)}"
            )


def shown(value: Any, *, bare: bool = False) -> str:
    """A value on one line, cut when it is long."""
    line = repr(value)
    line = line[1:-1] if bare else line
    return line if len(line) <= 60 else f"{line[:57]}..."
