"""Predicted areas against published ones: the residuals as they are, so that a drift of the model shows."""

import pytest

from dse.validation.areas import rows

RATIO = {
    "Eyeriss v1": (0.69, 0.69),
    "DianNao": (0.56, 0.56),
    "ShiDianNao": (0.55, 0.55),
    "Gemmini": (1.11, 1.11),
    "NVDLA": (0.34, 0.59),
}
"""Least and largest predicted / measured of each reference: only Gemmini lies within 25 %."""


@pytest.mark.parametrize("reference", RATIO)
def test_residuals_have_not_drifted(reference):
    table = rows()[lambda t: t["reference"] == reference]
    ratio = table["predicted"] / table["measured"]
    assert (ratio.min(), ratio.max()) == pytest.approx(RATIO[reference], abs=0.02)


def test_rank_correlation_has_not_drifted():
    """The target is 0.97, which the model misses: areas at 16 nm come out low against those at 28 and 65 nm."""
    table = rows()
    assert len(table) == 18
    assert table["measured"].rank().corr(table["predicted"].rank()) == pytest.approx(0.903, abs=0.01)
