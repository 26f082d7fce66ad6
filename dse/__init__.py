"""Application-driven design-space exploration of DNN accelerators.

Load a network, evaluate a design, explore a space:

>>> import dse
>>> network = dse.load_network("resnet50")
>>> dse.evaluate(dse.Accelerator(), network).bound
"""

from dse.accelerator import Accelerator
from dse.dataflow import Dataflow, SpatialOption
from dse.evaluate import BatchEvaluator, Evaluation, evaluate
from dse.layers import MacLayer, Network, VectorLayer
from dse.mapping import Mapping
from dse.networks import load_network, network_names
from dse.search import explore
from dse.space import Category, DesignSpace, Ordered, default_space, small_space
from dse.technology import Technology

__version__ = "0.1.0"

__all__ = [
    "Accelerator",
    "BatchEvaluator",
    "Category",
    "Dataflow",
    "DesignSpace",
    "Evaluation",
    "MacLayer",
    "Mapping",
    "Network",
    "Ordered",
    "SpatialOption",
    "Technology",
    "VectorLayer",
    "default_space",
    "evaluate",
    "explore",
    "load_network",
    "network_names",
    "small_space",
]
