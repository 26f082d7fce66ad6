"""Are the findings that the documents state those of the committed tables?"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from experiments.study import RESULTS, ROOT, Fault, Finding

WITH_FINDINGS = (
    "reference_sweep", "mapping_and_order", "sensitivity", "tune_dnn", "simultaneous", "exact_fronts", "eight_dnns",
    "operation_kinds",
)  # fmt: skip
"""Modules that have `findings(results)`."""


def flat(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def all_findings(results: Path | None = None) -> Iterator[tuple[str, Finding]]:
    """Every finding, with the module that states it."""
    for name in WITH_FINDINGS:
        try:
            for finding in importlib.import_module(f"experiments.{name}").findings(results or RESULTS):
                yield name, finding
        except (KeyError, IndexError) as error:  # a table that lacks a row
            raise Fault(f"{name}: a table lacks what a finding is about: {error}") from error


def wrong_findings(results: Path | None = None) -> tuple[int, list[str]]:
    """How many findings there are, and what is wrong, a line each."""
    texts: dict[str, str] = {}
    wrong, count = [], 0
    for name, finding in all_findings(results):
        count += 1
        if not finding.holds:
            wrong.append(f"{name}: the tables do not bear: {flat(finding.text)}")
            continue
        for document in finding.where:
            if document not in texts:
                texts[document] = flat((ROOT / document).read_text(encoding="utf-8"))
            if flat(finding.text) not in texts[document]:
                wrong.append(f"{name}: {document} does not say what the tables do: {flat(finding.text)}")
    return count, wrong
