"""Search problems: what is minimised, under which constraints, for which networks."""

from .base import AcceleratorProblem, Columns, ProblemError
from .codesign import Codesign, CodesignSpace
from .geomean import GeomeanDNN
from .registry import KINDS
from .resumption import rebuild, resume
from .simultaneous import SimultaneousDNNs
from .single import SingleDNN, known_objectives

__all__ = [
    "KINDS",
    "AcceleratorProblem",
    "Codesign",
    "CodesignSpace",
    "Columns",
    "GeomeanDNN",
    "ProblemError",
    "SimultaneousDNNs",
    "SingleDNN",
    "known_objectives",
    "rebuild",
    "resume",
]
