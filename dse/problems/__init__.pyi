# The names of `problems`, for type checkers and editors.

from problems import AcceleratorProblem as AcceleratorProblem
from problems import Codesign as Codesign
from problems import CodesignSpace as CodesignSpace
from problems import Columns as Columns
from problems import GeomeanDNN as GeomeanDNN
from problems import ProblemError as ProblemError
from problems import SimultaneousDNNs as SimultaneousDNNs
from problems import SingleDNN as SingleDNN
from problems import known_objectives as known_objectives
from problems import rebuild as rebuild
from problems import resume as resume

__all__: list[str]
