"""The model against every reference: the score table, and every comparison with its figure in results/validation.

python experiments/validation.py [reference ...]
python experiments/validation.py draw [reference ...]    # the figures again, from the tables; seconds
"""

import sys
from pathlib import Path

import pandas as pd

from dse.validation import REFERENCES
from dse.validation.collect import validate
from dse.validation.plots import write
from dse.validation.table import checked

OUT = Path("results/validation")

if __name__ == "__main__":
    columns = ["reference", "kind", "quantity", "rows", "median_error", "worst_error", "rank_correlation",
               "roofline_median_error", "roofline_rank_correlation", "target", "reached"]  # fmt: skip
    command, *names = sys.argv[1:] or [""]
    if command == "draw":
        for name in names or REFERENCES:
            print(*write(checked(pd.read_csv(OUT / f"{name}.csv")), OUT, name))
    else:
        print(validate(OUT, sys.argv[1:])[0][columns].round(3).to_string(index=False))
