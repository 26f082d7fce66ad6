# The names of `problems.single`, for type checkers and editors.

from problems.single import *
