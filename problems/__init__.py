"""Search problems: what is minimised, under which constraints, for which networks."""

from .base import AcceleratorProblem, Columns, ProblemError
from .codesign import Codesign, CodesignSpace
from .geomean import GeomeanDNN
from .resume import rebuild, resume
from .simultaneous import SimultaneousDNNs
from .single import SingleDNN, known_objectives

__all__ = [
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
