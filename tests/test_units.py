"""Numbers as text."""

import pytest

from dse.output.units import number, percent, quantity


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        (64.0, "64"),
        (1.50, "1.5"),
        (43.04, "43"),
        (123456.4, "123,456"),
        (1.6e16, "1.6e+16"),
        (0.0, "0"),
    ],
)
def test_number_has_three_significant_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize("value", [100.4, 110.2, 290.3, 299.6, 800.01])
def test_number_keeps_the_zeros_of_hundreds(value):
    """290.3 came out as "29"."""
    assert float(number(value)) == pytest.approx(value, rel=0.005)


@pytest.mark.parametrize("value", [10.0**e * m for e in range(-3, 8) for m in (1.001, 2.9003, 4.996, 9.9949)])
def test_number_reads_back_within_half_a_percent(value):
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.005)


def test_quantity_and_percent():
    assert quantity(0.2903, "s") == "290 ms"
    assert percent(0.1234) == "12 %"
    assert percent(0.0123) == "1.2 %"
