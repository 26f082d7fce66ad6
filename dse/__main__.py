"""`python -m dse`: the command line."""

import os
import sys

if sys.path[0] in ("", os.getcwd()) and os.path.realpath("dse") != os.path.dirname(os.path.realpath(__file__)):
    sys.path.append(sys.path.pop(0))  # a random.py or problems.py of the user's hides nothing

from dse.commands.main import main

if __name__ == "__main__":
    main()
