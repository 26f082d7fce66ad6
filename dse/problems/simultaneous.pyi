# The names of `problems.simultaneous`, for type checkers and editors.

from problems.simultaneous import *
