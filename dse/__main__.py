"""`python -m dse`: the command line."""

from dse.commands.main import main

if __name__ == "__main__":
    main()
