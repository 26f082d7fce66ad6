# The names of `problems.resumption`, for type checkers and editors.

from problems.resumption import *
