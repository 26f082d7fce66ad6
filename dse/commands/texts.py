"""How texts of options are read: names with values, each once, and quantities with their units."""

from __future__ import annotations

from collections.abc import Iterable

from dse.text.quantities import value_in


def named_once(option: str, texts: Iterable[str], form: str) -> dict[str, str]:
    """Texts by name of an option that takes ``NAME=TEXT`` several times; ValueError for one given twice.

    `form` : what is expected, for the error.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise ValueError(f"{option} {text!r}: expected {form}")
        if name in found:
            raise ValueError(f"{option} {name} is given twice, {found[name]} and {value}: give it once")
        found[name] = value
    return found


def quantity_of(option: str, unit: str, text: str) -> float:
    """The value of an option that is a number with or without that unit."""
    try:
        return value_in(unit, text)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
