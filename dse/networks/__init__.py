"""Networks: those that ship, and any other from its ONNX file or its layers in TOML.

>>> from dse.networks import load_network
>>> load_network("resnet50").macs
4089184256
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path

from dse.networks.catalogue import EIGHT, NETWORKS, Entry, network_dims
from dse.networks.errors import NetworkError
from dse.networks.layer_file import read_layers
from dse.networks.layers import Network

__all__ = ["EIGHT", "NETWORKS", "Entry", "NetworkError", "load_network", "network_dims", "network_names"]


def network_names() -> tuple[str, ...]:
    """Names that `load_network` knows, in alphabetical order."""
    return tuple(sorted(NETWORKS))


def load_network(
    name_or_path: str | PathLike[str], batch: int | None = 1, dims: Mapping[str, int] | None = None
) -> Network:
    """Load a network that ships, by name, or any ONNX file or TOML file of layers, by path.

    Parameters
    ----------
    name_or_path : one of `network_names()`, or the path of an ``.onnx`` file; its weights may be absent.  Or the path
        of a ``.toml`` file of layers, see `dse.networks.layer_file`; it says its own sizes, so `batch` is 1 or None
        and `dims` empty.
    batch : samples per inference [1]; binds the batch dimension of every input.  None keeps the file's own
        fixed sizes.
    dims : sizes of the other dynamic dimensions, by symbol (``{"seq": 128}``) or by input and axis
        (``{"x.2": 640}``); also values of integer inputs of one element, which decide an ``If``.  A network that
        ships has sizes of its own for those not given.

    Raises
    ------
    NetworkError : a `ValueError` of one line that names the thing and the fix.
    """
    if not isinstance(name_or_path, str | PathLike):
        raise NetworkError(
            f"expected the name of a network or the path of an .onnx or .toml file, got {name_or_path!r}"
        )
    text = fspath(name_or_path)
    path = Path(text)
    if text not in NETWORKS and path.suffix.lower() == ".toml":
        if batch not in (1, None) or dims:
            raise NetworkError(f"{text}: batch and dims are for ONNX files; a file of layers says its own B and sizes")
        return read_layers(path)
    from dse.networks.onnx_import import import_onnx  # not before it is needed: onnx takes a third of a second

    if text in NETWORKS:
        entry = NETWORKS[text]
        return import_onnx(entry.path, batch, network_dims(text, dims), name=text, source=entry.source)
    if isinstance(name_or_path, str) and not path.exists() and path.suffix == "" and path.name == text:
        plain = {name.lower().replace("-", "").replace("_", ""): name for name in NETWORKS}
        close = difflib.get_close_matches(text.lower().replace("-", "").replace("_", ""), plain, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(repr(plain[name]) for name in close)}? " if close else ""
        raise NetworkError(
            f"unknown network {text!r}: {hint}Give one of {', '.join(network_names())}, or the path of an .onnx or "
            ".toml file"
        )
    return import_onnx(path, batch, network_dims(text, dims))
