# The names of `problems.checks`, for type checkers and editors.

from problems.checks import *
