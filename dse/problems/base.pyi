# The names of `problems.base`, for type checkers and editors.

from problems.base import *
