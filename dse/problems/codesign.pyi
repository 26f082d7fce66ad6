# The names of `problems.codesign`, for type checkers and editors.

from problems.codesign import *
