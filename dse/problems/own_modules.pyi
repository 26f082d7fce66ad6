# The names of `problems.own_modules`, for type checkers and editors.

from problems.own_modules import *
