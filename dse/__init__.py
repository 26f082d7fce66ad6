"""Application-driven design-space exploration of DNN accelerators.

Load a network, evaluate a design, explore a space:

>>> import dse
>>> network = dse.load_network("resnet50")
>>> dse.evaluate(dse.Accelerator(), network).bound

Names are imported when they are first used, so that ``dse --help`` need not wait for numba and pymoo.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Accelerator": "dse.hardware.accelerator",
    "BatchEvaluator": "dse.costs.evaluation",
    "Budget": "dse.tuning.proposals",
    "Category": "dse.hardware.space",
    "Dataflow": "dse.hardware.dataflow",
    "DesignSpace": "dse.hardware.space",
    "Division": "dse.simultaneous.division",
    "Evaluation": "dse.costs.evaluation",
    "Exploration": "dse.search.exploration",
    "MacLayer": "dse.networks.layers",
    "Mapping": "dse.costs.mapping",
    "Mix": "dse.simultaneous.mixes",
    "Network": "dse.networks.layers",
    "Ordered": "dse.hardware.space",
    "PRESETS": "dse.hardware.presets",
    "SpatialOption": "dse.hardware.dataflow",
    "Stream": "dse.simultaneous.mixes",
    "Technology": "dse.hardware.technology",
    "VectorLayer": "dse.networks.layers",
    "co_run": "dse.simultaneous.division",
    "default_space": "dse.hardware.space",
    "evaluate": "dse.costs.evaluation",
    "explain": "dse.analysis.explanation",
    "explore": "dse.search.search_loop",
    "load": "dse.search.exploration",
    "load_mix": "dse.simultaneous.mixes",
    "load_network": "dse.networks",
    "mix_names": "dse.simultaneous.mixes",
    "network_names": "dse.networks",
    "preset": "dse.hardware.presets",
    "preset_sources": "dse.hardware.presets",
    "preset_technology": "dse.hardware.presets",
    "price_of_generality": "dse.analysis.price_of_generality",
    "read_graph": "dse.tuning.proposals",
    "relate": "dse.analysis.operation_kinds",
    "small_space": "dse.hardware.space",
    "staircase": "dse.analysis.staircases",
    "tune": "dse.tuning.proposals",
}
"""Public name -> the module it lives in."""

__all__ = list(_HOME)


class _Package(ModuleType):
    """This package: a public name is found on first use, and the function `evaluate` wins over the module it is in."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'dse' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME[name]), name)
        super().__setattr__(name, value)
        return value

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):  # what importing a submodule of that name would set
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_HOME})


sys.modules[__name__].__class__ = _Package
