"""The model against every reference: the score table, and every comparison with its figure in results/validation.

python experiments/validation.py [reference ...]
"""

from __future__ import annotations

from dse.validation.collect import validate


def main(*references: str) -> None:
    """Compare, and print the score."""
    columns = ["reference", "kind", "quantity", "rows", "median_error", "worst_error", "rank_correlation",
               "roofline_median_error", "roofline_rank_correlation", "target", "reached"]  # fmt: skip
    print(validate("results/validation", references)[columns].round(3).to_string(index=False))


if __name__ == "__main__":
    from command_line import run as run_command

    run_command(__doc__, main)
