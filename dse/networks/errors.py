"""The one exception that reading a network raises on bad input."""

from __future__ import annotations


class NetworkError(ValueError):
    """A network that cannot be read: one line that names the thing and the fix."""
