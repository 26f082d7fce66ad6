# The names of `problems.derived`, for type checkers and editors.

from problems.derived import *
