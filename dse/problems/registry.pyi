# The names of `problems.registry`, for type checkers and editors.

from problems.registry import *
