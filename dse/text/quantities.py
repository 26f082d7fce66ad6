"""How quantities are written for people: units with SI prefixes, numbers with three digits, times; and read back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "\u00b5"), (1e-9, "n"), (1e-12, "p"))
_PREFIXED = {"s": "s", "J": "J", "W": "W", "byte": "B", "J s": "J\u00b7s"}
_PLAIN = {"mm2": "mm\u00b2", "mm2 s": "mm\u00b2\u00b7s", "J s2": "J\u00b7s\u00b2", "1": "", "-": "", "PE": "PEs"}


def scaled(unit: str, values: Iterable[float]) -> tuple[float, str]:
    """`(factor, text)`: values times factor are in the unit of that text, its prefix fit for their middle.

    >>> scaled("s", [0.002, 0.004])
    (1000.0, 'ms')
    """
    if unit not in _PREFIXED:
        return 1.0, _PLAIN.get(unit, unit)
    sizes = sorted(abs(v) for v in values if v and math.isfinite(v))
    middle = sizes[len(sizes) // 2] if sizes else 1.0
    size, prefix = next(((s, p) for s, p in _PREFIXES if middle >= s), _PREFIXES[-1])
    return 1 / size, prefix + _PREFIXED[unit]


def number(value: float) -> str:
    """Three significant digits without an exponent where that is shorter; whole numbers with thousands separated.

    >>> number(0.012345), number(123456), number(64.0), number(1.6e16)
    ('0.0123', '123,456', '64', '1.6e+16')
    """
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if abs(value) >= 1e9 or abs(value) < 1e-4:
        return f"{value:.3g}"
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}".rstrip("0").rstrip(".")


def quantity(value: float, unit: str) -> str:
    """One value with its unit: ``quantity(0.00213, "s")`` gives "2.13 ms"."""
    factor, text = scaled(unit, [value])
    return f"{number(value * factor)} {text}".strip()


_SIZES = {prefix: size for size, prefix in _PREFIXES} | {"u": 1e-6, "Ki": 1024.0, "Mi": 1024.0**2, "Gi": 1024.0**3}


def value_in(unit: str, text: str) -> float:
    """The number that a text tells in a unit: a bare number, or one with the unit or an SI multiple of it.

    >>> value_in("s", "20ms"), value_in("mm2", "15"), value_in("byte", "4MB")
    (0.02, 15.0, 4000000.0)
    """
    bare = {"byte": "B"}.get(unit, unit).replace(" ", "")
    match = re.fullmatch(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(\S*)\s*", text)
    try:
        value = float(match[1]) if match else math.nan
    except ValueError:
        value = math.nan
    ending = match[2] if match else ""
    sizes = _SIZES if bare in ("s", "J", "W", "B", "Js") else {"": 1.0}
    size = 1.0 if not ending else next((x for prefix, x in sizes.items() if prefix + bare == ending), math.nan)
    if not math.isfinite(value * size):
        some = f"20 or 20m{bare}" if "m" in sizes else f"20{bare if bare not in ('1', '-') else ''}"
        raise ValueError(f"{text!r} is no number of {bare}, such as {some}")
    return value * size


def percent(share: float) -> str:
    """A share as a percentage: 0.1234 gives "12 %", 0.0123 "1.2 %"."""
    value = 100 * share
    return f"{value:.0f} %" if abs(value) >= 10 else f"{value:.2g} %" if value else "0 %"


def duration(seconds: float) -> str:
    """A time for people: "0.42 s", "12 s", "3 min 05 s", "2 h 07 min"."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def duration_s(text: str) -> float:
    """Seconds of a text such as ``90``, ``90s``, ``5m`` or ``1h30m`` [s]."""
    seconds, digits, units = 0.0, "", {"h": 3600.0, "m": 60.0, "s": 1.0}
    for letter in text.strip().lower() + ("" if text.strip()[-1:].isalpha() else "s"):
        if letter.isdigit() or letter == ".":
            digits += letter
            continue
        try:
            seconds += float(digits) * units[letter]
        except (ValueError, KeyError):
            raise ValueError(f"time {text!r}: expected seconds or such as 90s, 5m, 1h30m") from None
        digits = ""
    if not seconds > 0:
        raise ValueError(f"time {text!r}: expected more than 0 s, such as 90, 90s, 5m or 1h30m")
    return seconds
