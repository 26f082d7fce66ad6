"""The cost model: what a layer or network costs on a design, and the mapper that looks for the best mapping."""

import pkgutil

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, [module.name for module in pkgutil.iter_modules(__path__)])
