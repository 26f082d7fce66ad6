"""What stays on chip between the layers of a network: the choice, its costs, and what people are told of it."""

import pkgutil

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, [module.name for module in pkgutil.iter_modules(__path__)])
