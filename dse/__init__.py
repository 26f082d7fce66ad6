"""Application-driven design-space exploration of DNN accelerators.

Load a network, evaluate a design, explore a space:

>>> import dse
>>> network = dse.load_network("resnet50")
>>> dse.evaluate(dse.Accelerator(), network).bound

Public names and rooms are imported when they are first used, so that ``dse --help`` need not wait for numba and pymoo.
`__init__.pyi` lists them, and where each is.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
