"""Search problems: what is minimised, under which constraints, for which networks."""

from problems.base import AcceleratorProblem, Columns, ProblemError
from problems.codesign import Codesign, CodesignSpace
from problems.geomean import GeomeanDNN
from problems.resume import rebuild, resume
from problems.simultaneous import SimultaneousDNNs
from problems.single import SingleDNN, known_objectives

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
