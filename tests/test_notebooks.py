"""What a notebook shows: tables in HTML, a line as `repr`, and the progress of a search under its cell."""

import sys
import types
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import dse
from dse.search.exploration import Progress
from dse.search.notebook_progress import notebook_progress
from dse.text.html import html_table
from problems import SingleDNN

NETWORK = dse.Network.from_layers([dse.MacLayer("a<b>&c", "Conv", K=16, C=8, OX=32)], "net<1>")


class Balanced(HTMLParser):
    """Counts rows, and refuses tags that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.rows, self.text = [], 0, ""

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.rows += tag == "tr"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(html):
    parser = Balanced()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return parser


@pytest.fixture(scope="module")
def run():
    space = dse.small_space()
    return dse.explore(SingleDNN(NETWORK, space=space), evaluations=60, progress=False)


@pytest.fixture(scope="module")
def shown(run):
    """Each kind of result, and a text that its table tells."""
    design = dse.preset("nvdla_large")
    return {
        "Network": (NETWORK, "MMACs"),
        "Evaluation": (dse.evaluate(design, NETWORK), "TOPS/W"),
        "Explanation": (dse.explain(design, NETWORK), "change of the design"),
        "Exploration": (run, "area_mm2"),
        "Mix": (dse.load_mix("vr_gaming"), "hand_tracking"),
    }


@pytest.mark.parametrize("kind", ["Network", "Evaluation", "Explanation", "Exploration", "Mix"])
def test_results_are_tables_in_a_notebook_and_a_line_elsewhere(shown, kind):
    value, told = shown[kind]
    found = parsed(value._repr_html_())
    assert told in found.text and found.rows > 1
    assert type(value).__name__ == kind and kind in repr(value)
    assert "\n" not in repr(value) and len(repr(value)) < 250


def test_names_are_escaped():
    assert "net<1>" in parsed(NETWORK._repr_html_()).text and "net<1>" not in NETWORK._repr_html_()
    assert "<script>" not in html_table("<script>", ["<script>"], [["<script>"]])


def test_a_run_without_a_feasible_design_and_a_design_that_does_not_fit_are_shown(run):
    header = run.texts["front.csv"]().splitlines(keepends=True)[0]
    empty = replace(run, texts={**run.texts, "front.csv": lambda: header})
    assert parsed(empty._repr_html_()).rows == 0
    tight = dse.evaluate(dse.Accelerator(output_register_bytes=1), NETWORK)
    assert not tight.feasible and "does not fit" in parsed(tight._repr_html_()).text


@pytest.fixture
def kernel(monkeypatch):
    """A stand-in of a notebook's IPython: what it was asked to display and to update."""
    seen = []

    class Handle:
        def update(self, shown):
            seen.append(shown)

    def display(shown, display_id):
        seen.append(shown)
        return Handle()

    module = types.ModuleType("IPython")
    module.get_ipython = lambda: types.SimpleNamespace(kernel=True)
    module.display = types.SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", module)
    return seen


def test_a_search_in_a_notebook_shows_its_progress_unless_told_not_to(kernel):
    problem = SingleDNN(NETWORK, space=dse.small_space())
    dse.explore(problem, evaluations=60)
    assert len(kernel) >= 2 and "60 of 60 designs" in repr(kernel[-1])
    assert 'max="60"' in kernel[-1]._repr_html_() and parsed(kernel[-1]._repr_html_()).open == []
    kernel.clear()
    dse.explore(problem, evaluations=60, progress=False)
    dse.explore(problem, evaluations=60, progress=lambda progress: None)
    assert not kernel


def test_the_time_left_is_told(kernel):
    show = notebook_progress()
    show(Progress("search", 3, 100, 400, 7, 0.5, 0.4, 20.0, 0))
    assert repr(kernel[0]) == "search: 100 of 400 designs, front 7, 20 s, 1 min 00 s left"


@pytest.mark.parametrize("shell", [None, types.SimpleNamespace()])
def test_there_is_no_bar_outside_a_kernel(monkeypatch, shell):
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert notebook_progress() is None
    monkeypatch.delitem(sys.modules, "IPython")
    assert notebook_progress() is None


def test_a_progress_that_is_no_function_is_refused():
    with pytest.raises(ValueError, match="progress must be a function that takes a Progress, or False"):
        dse.explore(SingleDNN(NETWORK), progress=True)
