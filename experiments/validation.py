"""The model against every published reference: the score table, and every comparison with its figure.

    python -m experiments validation              # a minute; as: dse validate --out results/validation

Into results/validation/: score.csv, and for each reference every comparison as CSV and a figure.  What README.md and
docs/validation.md say of them is held against these tables by tests/test_readme.py.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dse.validation.collect import validate
from experiments.study import Out, Quick, Stages, Study


def main(
    stages: Stages = None,
    quick: Quick = False,
    out: Out = None,
    reference: Annotated[list[str] | None, typer.Option(help="May be repeated; default all.")] = None,
) -> None:
    """Run the comparisons."""
    study = Study.at("validation", out, quick)
    names = reference or (["tpu", "areas"] if quick else [])
    study.run(stages, {"compare": lambda: print(validate(study.out, names)[0].round(3).to_string(index=False))})
