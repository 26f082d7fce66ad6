"""Small tables in HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def html_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a title and, where `heads` is not empty, a line of heads; every text is escaped.

    The first column is to the left, the others to the right.
    """
    lines = [f"<p><b>{escape(title)}</b></p>" if title else "", "<table>"]
    if heads:
        lines.append(f"<thead><tr>{''.join(_cell('th', i, head) for i, head in enumerate(heads))}</tr></thead>")
    lines.append("<tbody>")
    lines += [f"<tr>{''.join(_cell('td', i, cell) for i, cell in enumerate(row))}</tr>" for row in rows]
    return "\n".join([*filter(None, lines), "</tbody></table>"])


def _cell(tag: str, at: int, content: object) -> str:
    return f'<{tag} style="text-align:{"right" if at else "left"}">{escape(str(content))}</{tag}>'
