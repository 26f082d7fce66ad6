"""Design spaces: genes to designs and back, sampling, enumeration, identity, TOML, bad input."""

import copy
import itertools
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest

from dse.hardware.accelerator import PARAMETERS, Accelerator
from dse.hardware.dataflow import DATAFLOWS, Dataflow, SpatialOption
from dse.hardware.space import Category, DesignSpace, Ordered, default_space, small_space
from dse.runs.column_dictionary import COLUMNS

TINY = DesignSpace(
    {
        "rows": [4, 8, 16],
        "dataflow": Category("weight_stationary", "row_stationary"),
        "overlap_skew": [False, True],
        "dram_gbps": Ordered(0.5, 8),
        "buffers": ("W/I/O", "W+I/O"),
        "macs_per_pe": Category(1, 16, 4),
    },
    base=Accelerator(clock_ghz=0.7, interconnect="systolic"),
    name="tiny",
)
MINE = Dataflow("mine", (SpatialOption(("K",), ("C",), ("I",)),))


def test_shape_of_a_space():
    assert TINY.names == ("rows", "dataflow", "overlap_skew", "dram_gbps", "buffers", "macs_per_pe")
    assert TINY.n_var == 6
    assert TINY.n_levels.tolist() == [3, 2, 2, 2, 2, 3]
    assert TINY.n_levels.dtype == np.int64
    assert TINY.is_category.tolist() == [False, True, True, False, True, True]
    assert TINY.size == 144
    assert DesignSpace({"cols": range(2, 5)}).variables[0].levels == (2, 3, 4)
    assert DesignSpace({"cols": np.array([2, 4])}).variables[0].levels == (2, 4)


def test_space_is_immutable():
    for name in ("variables", "base", "name", "size"):
        with pytest.raises(AttributeError):
            setattr(TINY, name, None)
    with pytest.raises(ValueError, match="read-only"):
        TINY.n_levels[0] = 7


def test_columns_are_the_designs():
    X = TINY.all_designs()
    columns = TINY.columns(X)
    assert list(columns) == list(PARAMETERS)
    for i, x in enumerate(X):
        design = TINY.design(x)
        assert all(columns[name][i] == getattr(design, name) for name in PARAMETERS)
        assert design.clock_ghz == 0.7
        assert np.array_equal(TINY.encode(design), x)
    for name, values in columns.items():
        texts = name in (
            "dataflow",
            "interconnect",
            "buffers",
            "dram_type",
            "port_model",
            "sparse_weights",
            "separate_ports",
            "double_buffered",
            "bypass",
            "buffets",
            "padded_tiles",
        )
        assert values.shape == (144,)
        assert values.dtype == (object if texts else np.float64)


def test_all_designs_enumerates_once_in_order():
    X = TINY.all_designs()
    assert X.dtype == np.int64
    assert X.flags.c_contiguous
    expected = list(itertools.product(*(range(n) for n in TINY.n_levels)))
    assert [tuple(x) for x in X] == expected
    assert np.array_equal(np.concatenate([TINY.all_designs(i, min(i + 50, 144)) for i in (0, 50, 100)]), X)
    assert TINY.all_designs(5, 5).shape == (0, 6)
    far = default_space().size - 3
    assert np.array_equal(default_space().all_designs(far)[-1], default_space().n_levels - 1)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (4, 3), (0, 145)])
def test_all_designs_refuses_ranges_outside(start, stop):
    with pytest.raises(ValueError, match="not within the 144"):
        TINY.all_designs(start, stop)


@pytest.mark.parametrize("n", [0, 1, 100, 143, 144])
def test_sample_has_no_repeats(n):
    X = TINY.sample(n, np.random.default_rng(1))
    assert X.shape == (n, 6)
    assert X.dtype == np.int64
    assert X.flags.c_contiguous
    assert len({x.tobytes() for x in X}) == n
    assert np.array_equal(X, TINY.sample(n, np.random.default_rng(1)))
    TINY.validate(X)


def test_sample_is_uniform():
    space = default_space()
    X = space.sample(20_000, np.random.default_rng(2))
    for gene, levels in enumerate(space.n_levels):
        share = np.bincount(X[:, gene], minlength=levels) / len(X)
        assert np.all(np.abs(share * levels - 1) < 0.15)
    assert len(np.unique(X, axis=0)) == len(X)


def test_sample_more_than_there_are():
    with pytest.raises(ValueError, match="145 different designs from the 144"):
        TINY.sample(145, np.random.default_rng(0))


def test_space_beyond_int64():
    levels = tuple(range(1, 1001))
    space = DesignSpace(
        {n: levels for n in ("rows", "cols", "macs_per_pe", "vector_lanes", "weight_bits", "dram_gbps", "clock_ghz")}
    )
    assert space.size == 10**21
    X = space.sample(50, np.random.default_rng(0))
    assert len(np.unique(X, axis=0)) == 50
    with pytest.raises(ValueError, match="too many to number"):
        space.all_designs(10**20, 10**20 + 5)


def test_columns_are_fast():
    space = default_space()
    X = space.sample(200_000, np.random.default_rng(0))
    seconds = []
    for _ in range(3):
        start = time.process_time()
        space.columns(X)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.4  # 0.06 s measured; a million rows in about 0.3 s


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((5, 7), int), r"got shape (5, 7), expected (n, n_var) = (n, 6): the genes are rows, dataflow"),
        (np.zeros(6, int), r"expected (n, n_var) = (n, 6): for one design write X[None]"),
        (np.zeros((2, 6)), "got float64, expected int64 level indices"),
        (np.array([[0, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0]]), "rows (gene 0) is 3 in row 1, expected 0 to 2"),
        (np.array([[0, -1, 0, 0, 0, 0]]), "dataflow (gene 1) is -1 in row 0, expected 0 to 1"),
    ],
)
def test_bad_genes_teach_the_fix(X, message):
    for call in (TINY.validate, TINY.columns):
        with pytest.raises(ValueError) as error:
            call(X)
        assert message in str(error.value)


def test_validate_makes_contiguous_int64():
    X = np.asfortranarray(np.ones((4, 6), dtype=np.int32))
    made = TINY.validate(X)
    assert made.dtype == np.int64
    assert made.flags.c_contiguous
    assert TINY.validate(np.empty((0, 6), int)).shape == (0, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 5}, "rows=5 is not in space 'tiny'; its levels are 4, 8, 16"),
        ({"dataflow": "flexible"}, "dataflow=flexible is not in space 'tiny'"),
        ({"clock_ghz": 1.0}, "clock_ghz=1.0 is not in space 'tiny', which fixes it at 0.7"),
    ],
)
def test_encode_names_what_is_off_the_grid(changes, message):
    parameters = {name: getattr(TINY.design(np.zeros(6, int)), name) for name in PARAMETERS}
    with pytest.raises(ValueError) as error:
        TINY.encode(Accelerator(**(parameters | changes)))
    assert message in str(error.value)


def test_describe():
    rows = {row["name"]: row for row in TINY.describe()}
    assert rows["rows"] == {"name": "rows", "kind": "ordered", "levels": "4, 8, 16", "unit": "PE"}
    assert rows["dram_gbps"]["unit"] == "GB/s"
    assert rows["dataflow"]["levels"] == "weight_stationary, row_stationary"
    assert rows["overlap_skew"]["levels"] == "False, True"
    whole = {row["name"]: row["unit"] for row in default_space().describe()}
    assert whole["weight_buffer_width_bytes"] == "byte/cycle"
    assert whole["weight_register_bytes"] == "byte"
    assert whole["input_buffer_kib"] == "KiB"
    assert whole["weight_buffer_banks"] == whole["buffers"] == ""


def test_units_of_the_space_are_those_of_the_column_dictionary():
    """A parameter is declared once: `dse space` and columns.csv say the same of it."""
    for row in default_space().describe():
        assert row["unit"] in (COLUMNS[row["name"]].unit, ""), row
        assert row["unit"] or COLUMNS[row["name"]].unit in ("1", "-"), row
    assert [name for name in COLUMNS if name in PARAMETERS] == list(PARAMETERS) == list(Accelerator().parameters())


def test_hash_is_the_content():
    again = DesignSpace({v.name: v.levels for v in TINY.variables[:5]} | {"macs_per_pe": Category(1, 16, 4)}, TINY.base)
    assert again.hash == TINY.hash  # the name does not count
    changed = [
        DesignSpace({"rows": [4, 8]}),
        DesignSpace({"rows": [4, 16]}),
        DesignSpace({"cols": [4, 8]}),
        DesignSpace({"rows": Category(4, 8)}),
        DesignSpace({"rows": [4, 8]}, Accelerator(cols=32)),
        DesignSpace({"rows": [4, 8], "dataflow": [MINE, "flexible"]}),
        DesignSpace(
            {"rows": [4, 8], "dataflow": [Dataflow("mine", (SpatialOption(("K",), ("B",), ("I",)),)), "flexible"]}
        ),
    ]
    assert len({space.hash for space in changed}) == len(changed)
    assert DesignSpace({"rows": [4, 8]}, Accelerator(dram_gbps=16.0)).hash == changed[0].hash
    assert DesignSpace({"rows": [4, 8]}, Accelerator(rows=128)).hash == changed[0].hash  # rows is a variable


def test_hash_is_equal_in_another_process():
    code = "from dse.hardware.space import default_space; print(default_space().hash)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == default_space().hash


def test_travels_between_processes():
    TINY.columns(TINY.all_designs())
    for other in (pickle.loads(pickle.dumps(TINY)), copy.deepcopy(TINY)):
        assert other == TINY
        assert other.hash == TINY.hash
        assert np.array_equal(other.columns(TINY.all_designs())["rows"], TINY.columns(TINY.all_designs())["rows"])


def test_default_space():
    space = default_space()
    assert 1e12 <= space.size < 2**63
    assert {"rows", "cols", "macs_per_pe", "dataflow", "interconnect", "buffers", "dram_gbps"} <= set(space.names)
    assert not {"weight_bits", "activation_bits", "accumulator_bits"} & set(space.names)
    levels = {v.name: v.levels for v in space.variables}
    assert levels["dataflow"] == tuple(DATAFLOWS[name] for name in PARAMETERS["dataflow"].levels)
    assert not {"flexible", "row_stationary_sets"} & set(PARAMETERS["dataflow"].levels)
    for x in space.sample(2000, np.random.default_rng(3)):
        space.design(x)  # every combination is a legal Accelerator
    columns = space.columns(space.sample(20_000, np.random.default_rng(4)))
    lanes = columns["macs_per_pe"]
    short = (columns["weight_register_bytes"] < lanes) | (columns["input_register_bytes"] < lanes)
    assert 0.25 < short.mean() < 0.29  # as its docstring says
    assert np.all(columns["output_register_bytes"] >= 4)


def test_small_space_is_a_part_of_the_default():
    small, whole = small_space(), default_space()
    assert 500_000 <= small.size <= 1_000_000
    for x in small.sample(500, np.random.default_rng(5)):
        whole.encode(small.design(x))
    columns = small.columns(small.all_designs())
    assert np.all(columns["weight_register_bytes"] >= columns["macs_per_pe"])
    assert np.all(columns["input_register_bytes"] >= columns["macs_per_pe"])


@pytest.mark.parametrize("space", [TINY, default_space(), small_space()], ids=lambda s: s.name)
def test_toml_round_trip(space, tmp_path):
    path = tmp_path / "space.toml"
    space.to_toml(path)
    again = DesignSpace.from_toml(path)
    assert again == space
    assert again.hash == space.hash


def test_toml_as_documented(tmp_path):
    path = tmp_path / "mine.toml"
    text = """
        [base]
        dram_gbps = 32
        [variables]
        rows = [4, 8, 16]
        dataflow = ["weight_stationary", "row_stationary"]
        cols = {choices = [16, 4]}
    """
    path.write_text(text, encoding="utf-8")
    space = DesignSpace.from_toml(path)
    assert space.name == "mine"
    assert space.size == 12
    assert space.is_category.tolist() == [False, True, True]
    assert space.base.dram_gbps == 32


def test_dataflow_of_ones_own():
    space = DesignSpace({"rows": [4, 8], "dataflow": [MINE, "row_stationary"]})
    assert space.design(np.array([0, 0])).dataflow == MINE
    assert space.columns(np.array([[0, 0]]))["dataflow"][0] is space.variables[1].levels[0]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "has no variables"),
        ({"rows": []}, "'rows' has no level"),
        ({"rows": [8]}, "'rows' has one level; set it in the base instead: Accelerator(rows=8)"),
        ({"rows": [4, 8, 4]}, "'rows' lists level 4 twice"),
        ({"rows": Category(4, 8, 8)}, "'rows' lists level 8 twice"),
        ({"rows": [8, 4]}, "ordered levels must rise, got 8, 4"),
        ({"row": [4, 8]}, "'row' is unknown; did you mean 'rows'?"),
        ({"weight_buffer_kb": [4, 8]}, "did you mean 'weight_buffer_kib'?"),
        ({"rows": ["4", "8"]}, "rows takes a number, got '4'"),
        ({"rows": [4, True]}, "rows takes a number, got True"),
        ({"buffers": [1, 2]}, "buffers takes a text, got 1"),
        ({"overlap_skew": [0, 1]}, "overlap_skew takes true or false, got 0"),
        ({"dataflow": [1, 2]}, "dataflow takes a dataflow or its name, got 1"),
        ({"dataflow": Ordered("flexible", "row_stationary")}, "has no order; write Category(...)"),
        ({"rows": "4, 8"}, "give a list of levels, got '4, 8'"),
        ({"rows": 4}, "give a list of levels, got 4"),
        ({"rows": [0, 4]}, "level 0: Accelerator: rows must be a whole number"),
        ({"rows": [4, 4.5]}, "level 4.5: Accelerator: rows must be a whole number"),
        ({"dram_gbps": [1, float("inf")]}, "level inf: Accelerator: dram_gbps must be a positive number"),
        ({"dataflow": ["flexible", "nonsense"]}, "unknown dataflow 'nonsense'"),
        ({"buffers": ["W/I/O", "W/I"]}, "buffers must be one of"),
        ({"weight_buffer_kib": [0.01, 64]}, "holds 10.24 bytes, less than one word"),
        (
            {"weight_buffer_kib": [0.01, 64], "weight_buffer_width_bytes": [8, 32], "buffers": ["W+I/O", "W/I/O"]},
            "some levels do not go together (buffers W and I and O)",
        ),
        (
            {"weight_bits": [4, 8], "narrow_weight_bits": [0, 4]},
            "level 4: Accelerator: narrow_weight_bits=4 must be at",
        ),
        ({"input_buffer_banks": [1, 512]}, "512 banks for a port of 32 bytes"),
    ],
)
def test_bad_space_is_one_clear_line(variables, message):
    with pytest.raises(ValueError) as error:
        DesignSpace(variables)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[variables]\nrows = [4, 8", "not a TOML file"),
        ("rows = [4, 8]", "table 'rows' is unknown"),
        ("[variable]\nrows = [4, 8]", "did you mean 'variables'?"),
        ("variables = 3", "expected a table [variables]"),
        ("[space]\nnames = 'x'", "did you mean 'name'?"),
        ("[base]\nclock = 1.0\n[variables]\nrows = [4, 8]", "did you mean 'clock_ghz'?"),
        ("[base]\nrows = 'many'\n[variables]\ncols = [4, 8]", "rows takes a number, got 'many'"),
        ("[base]\nrows = 0\n[variables]\ncols = [4, 8]", "rows must be a whole number"),
        ("[variables]\nrows = 4", "give a list of levels, got 4"),
        ("[variables]\nrows = {levels = [4, 8]}", "give a list of levels or {choices = [...]}"),
        ("[variables]\nrows = [4]", "one level"),
        ("", "has no variables"),
    ],
)
def test_bad_toml_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="bad.toml") as error:
        DesignSpace.from_toml(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_or_binary_toml(tmp_path):
    with pytest.raises(ValueError, match="none.toml: cannot be read"):
        DesignSpace.from_toml(tmp_path / "none.toml")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a TOML file"):
        DesignSpace.from_toml(path)
