"""Proofs about the front of a run: no design of the whole space is better by more than a stated factor.

`certificate` runs the proof and keeps it, `branch_and_bound` finds it, `boxes` divides the space, `bounds_of_designs`
asks the cost model, and `checker` checks a certificate again with plain code.
"""

import pkgutil

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, [module.name for module in pkgutil.iter_modules(__path__)])
