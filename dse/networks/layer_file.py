"""Networks as layers in a TOML file, one table for each layer, in execution order.

[network]                 # optional
name = "attention block"  # default: the file's name; also source, parameters

[[layer]]
name = "query"
K = 768
C = 768
OX = 128                  # loop bounds that are not named are 1; at least one is named
inputs = ["x"]            # tensors; optional
output = "q"

[[layer]]
name = "softmax"
operator = "Softmax"
operations = 98304        # a vector layer: operations instead of loop bounds
input_elements = 16384
output_elements = 16384

The keys are the fields of `MacLayer` and `VectorLayer`.  A table ``[network.tensor_elements]`` may tell sizes of
tensors [elements].  `Network.toml_text` writes such a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

from dse.networks.errors import NetworkError
from dse.networks.layers import LOOPS, Layer, MacLayer, Network, VectorLayer
from dse.networks.toml_file import check_known, read_toml

HEAD = ("name", "source", "parameters", "tensor_elements")
"""Keys of ``[network]``."""

LARGEST = 2**52
"""Of the numbers of a layer: the cost model computes in float64."""

EXPECTED = {
    "float": "a number",
    "int": "a whole number, such as 16",
    "bool": "true or false",
    "str": 'a text, such as "a"',
    "tuple[str, ...]": 'a list of texts, such as ["a"]',
}
"""What a key takes, by the type of its field."""


def read_layers(path: str | Path) -> Network:
    """The network of a TOML file of layers.

    Raises NetworkError, one line that names the file, the layer and the key, and what is expected there.
    """
    try:
        tables = read_toml(path, ("network",), ("layer",))
        head = _head(tables["network"])
        if not tables["layer"]:
            raise NetworkError(f'{path}: no layers; give at least one table [[layer]] with a name, such as name = "a"')
    except NetworkError:
        raise
    except ValueError as error:
        text = str(error)
        raise NetworkError(text if text.startswith(f"{path}: ") else f"{path}: {text}") from None
    try:
        layers = tuple(_layer(entries, i + 1) for i, entries in enumerate(tables["layer"]))
        _check_order(layers)
        _check_sizes(head.get("tensor_elements", {}), layers)
        return Network(**{"name": Path(path).stem, **head, "layers": layers})
    except ValueError as error:
        raise NetworkError(f"{path}: {error}") from None


def _head(entries: dict[str, Any]) -> dict[str, Any]:
    """The entries of ``[network]``, checked."""
    for key, value in entries.items():
        check_known(key, HEAD, "[network]: key")
        if key in ("name", "source") and not (isinstance(value, str) and value):
            raise ValueError(f"[network]: {key} must be a text, got {value!r}")
        if key == "parameters" and not _is_count(value):
            raise ValueError(f"[network]: parameters must be a whole number >= 0, got {value!r}")
        if key == "tensor_elements":
            if not isinstance(value, dict):
                raise ValueError(f"[network]: tensor_elements must be sizes by name, such as {{q = 16}}, got {value!r}")
            for name, size in value.items():
                if not _is_count(size):
                    raise ValueError(
                        f"[network.tensor_elements]: {name} must be a whole number of elements >= 0, got {size!r}"
                    )
    return entries


def _check_sizes(sizes: dict[str, int], layers: tuple[Layer, ...]) -> None:
    """ValueError for the size of a tensor that no layer names, or that is none that its writer leaves."""
    written = {layer.output: layer for layer in layers if layer.output}
    known = {*written, *(name for layer in layers for name in layer.inputs)}
    known |= {layer.fused_input for layer in layers if isinstance(layer, MacLayer) and layer.fused_input}
    for name, size in sizes.items():
        check_known(name, sorted(known), "[network.tensor_elements]: tensor")
        least = written[name].output_elements if name in written else 0
        if not least <= size <= 2**52:
            raise ValueError(
                f"[network.tensor_elements]: {name} = {size} must be from {least:g}, which its layer writes, to 2^52"
            )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _layer(entries: dict[str, Any], number: int) -> Layer:
    """The layer of one table ``[[layer]]``, the `number`-th."""
    mac, vector = ({f.name: f for f in fields(kind)} for kind in (MacLayer, VectorLayer))
    name = entries.get("name")
    if not (isinstance(name, str) and name):
        got = "it has none" if name is None else f"got {name!r}"
        raise ValueError(f"[[layer]] number {number}: name must be a text of its own, {got}")
    where = f"layer {name!r}"
    is_vector = any(key in vector and key not in mac for key in entries)
    known: dict[str, Field] = vector if is_vector else mac
    for key, value in entries.items():
        if is_vector and key in mac and key not in vector:
            given = next(other for other in entries if other in vector and other not in mac)
            raise ValueError(
                f"{where}: {key} is a key of MAC layers and {given} one of vector layers; give one of the two kinds"
            )
        check_known(key, known, f"{where}: key")
        kind = str(known[key].type)  # a text: annotations are not evaluated
        if not _has_type(value, kind):
            raise ValueError(f"{where}: {key} must be {EXPECTED[kind]}, got {value!r}")
        if isinstance(value, int) and value > LARGEST:
            raise ValueError(f"{where}: {key} must be at most 2^52 = {LARGEST}, got {value}")
    if not is_vector and not any(key in LOOPS for key in entries):
        raise ValueError(
            f"{where}: neither a loop bound of a MAC layer ({', '.join(LOOPS)}) nor a key of a vector layer "
            f"({', '.join(key for key in vector if key not in mac)}); give at least one"
        )
    missing = [f.name for f in known.values() if f.default is MISSING and f.name not in entries]
    if missing:
        raise ValueError(f"{where}: {_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entries.items()}
    return VectorLayer(**values) if is_vector else MacLayer(**values)


def _has_type(value: object, kind: str) -> bool:
    """Whether a value of a file is of the type that a field of a layer is declared with."""
    if kind in ("int", "float"):
        return isinstance(value, int if kind == "int" else int | float) and not isinstance(value, bool)
    if kind == "tuple[str, ...]":
        return isinstance(value, list) and all(isinstance(x, str) for x in value)
    return isinstance(value, {"bool": bool, "str": str}[kind])


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _check_order(layers: Iterable[Layer]) -> None:
    """ValueError for a layer that reads a tensor before the layer that writes it."""
    layers = tuple(layers)
    writer: dict[str, int] = {}
    for i, layer in enumerate(layers):
        if layer.output:
            writer.setdefault(layer.output, i)
    for i, layer in enumerate(layers):
        fused = (layer.fused_input,) if isinstance(layer, MacLayer) and layer.fused_input else ()
        for tensor in (*layer.inputs, *fused):
            if writer.get(tensor, -1) >= i:
                by = layers[writer[tensor]].name
                raise ValueError(
                    f"layer {layer.name!r}: inputs: {tensor!r} is not written yet, layer {by!r} writes it; put the "
                    "layers in execution order"
                )
