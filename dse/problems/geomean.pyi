# The names of `problems.geomean`, for type checkers and editors.

from problems.geomean import *
