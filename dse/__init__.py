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

__version__ = "0.2.0"

_HOME = {
    "Accelerator": "dse.accelerator",
    "BatchEvaluator": "dse.evaluate",
    "Budget": "dse.tune",
    "Category": "dse.space",
    "Dataflow": "dse.dataflow",
    "DesignSpace": "dse.space",
    "Division": "dse.partition",
    "Evaluation": "dse.evaluate",
    "Exploration": "dse.exploration",
    "MacLayer": "dse.layers",
    "Mapping": "dse.mapping",
    "Mix": "dse.mixes",
    "Network": "dse.layers",
    "Ordered": "dse.space",
    "PRESETS": "dse.presets",
    "SpatialOption": "dse.dataflow",
    "Stream": "dse.mixes",
    "Technology": "dse.technology",
    "VectorLayer": "dse.layers",
    "co_run": "dse.partition",
    "default_space": "dse.space",
    "evaluate": "dse.evaluate",
    "explain": "dse.explain",
    "explore": "dse.search",
    "load": "dse.exploration",
    "load_mix": "dse.mixes",
    "load_network": "dse.networks",
    "mix_names": "dse.mixes",
    "network_names": "dse.networks",
    "preset": "dse.presets",
    "preset_sources": "dse.presets",
    "preset_technology": "dse.presets",
    "price_of_generality": "dse.generality",
    "read_graph": "dse.tune",
    "relate": "dse.relate",
    "small_space": "dse.space",
    "staircase": "dse.staircase",
    "tune": "dse.tune",
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
