"""Accuracy by training: ONNX graphs as torch modules, a recipe, studies over seeds, and what their runs say."""

import pkgutil

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, [module.name for module in pkgutil.iter_modules(__path__)])
