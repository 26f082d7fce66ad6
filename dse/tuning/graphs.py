"""Graphs of networks: read for editing, and read as a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnx import ModelProto

from dse.networks import NETWORKS, load_network, network_dims
from dse.networks.layers import Network
from dse.networks.onnx_file.graph import read_model
from dse.networks.onnx_import import import_model
from dse.tuning.channels import stripped

NOWHERE = "no folder: the graph is in memory"
"""Where a graph in memory looks for external constants."""


def network_of(model: ModelProto, batch: int | None = 1, dims: Mapping[str, int] | None = None) -> Network:
    """The network of a graph, called as the graph is and read as its file would be; see `load_network`."""
    if not isinstance(model, ModelProto):
        raise ValueError(f"give a graph, from dse.read_graph(name or path), not {model!r:.80}")
    name = model.graph.name.replace("/", "_")[:200] or "network"
    copy = ModelProto()
    copy.CopyFrom(model)
    path = Path(NOWHERE, f"{name}.onnx")
    return import_model(copy, path, batch, network_dims(str(path), dims))


def read_graph(network: str | Path) -> ModelProto:
    """The graph of a network that ships, by name, or of an ONNX file, without its weights; called as the network is."""
    name, path = str(network), Path(network)
    if name in NETWORKS:
        path = NETWORKS[name].path
    elif not path.exists():
        load_network(name)  # says which names there are
    if path.suffix.lower() == ".toml":
        raise ValueError(f"{path}: a file of layers has no graph to edit; give an .onnx file or the name of a network")
    model = stripped(read_model(path))
    model.graph.name = path.stem
    return model
