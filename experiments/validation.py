"""The model against every reference: the score table, and every comparison with its figure in results/validation.

python experiments/validation.py [reference ...]
"""

import sys

from dse.validation.collect import validate

if __name__ == "__main__":
    columns = ["reference", "kind", "quantity", "rows", "median_error", "worst_error", "rank_correlation",
               "roofline_median_error", "roofline_rank_correlation", "target", "reached"]  # fmt: skip
    print(validate("results/validation", sys.argv[1:])[columns].round(3).to_string(index=False))
