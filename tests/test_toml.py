"""Dataflows and layers of one's own in TOML files, and runs with them."""

import json
import sys
from dataclasses import fields, replace
from fractions import Fraction

import numpy as np
import pytest

import dse
import dse.commands.main
import problems
from dse.analysis.changes import changes
from dse.analysis.operation_kinds import choices
from dse.commands.design_by_text import choose, from_toml, toml_text
from dse.hardware.accelerator import PARAMETERS, Accelerator
from dse.hardware.dataflow import DATAFLOWS, Dataflow, SpatialOption, own_dataflows, plain_dataflow
from dse.hardware.dataflow_file import dataflow_of_plain
from dse.hardware.space import DesignSpace, default_space
from dse.hardware.technology import Technology
from dse.networks.errors import NetworkError
from dse.networks.layer_file import EXPECTED
from dse.runs.identity import of_network
from dse.simultaneous.division import Division
from problems import SimultaneousDNNs, SingleDNN

MINE = Dataflow("rows_of_pixels", (SpatialOption(("C", "FY"), ("OX", "K"), ("W", "O")),))
ODD = Dataflow(
    'my "own", 2',
    (SpatialOption(("C",), ("K",), ("I",), flatten_reduction=True), SpatialOption((), ("G",), forwards_inputs=True)),
)
FLOWS = """
[dataflows.rows_of_pixels]
options = [{rows = ["C", "FY"], cols = ["OX", "K"], stationary = ["W", "O"]}]
"""
SPACE = f"""
[base]
overlap_skew = true
{FLOWS}
[variables]
rows = [8, 16]
cols = [8, 16]
dataflow = ["rows_of_pixels", "weight_stationary"]
"""


def file_of(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def dse_command(tmp_path, monkeypatch, capsys):
    """Run the command in this process, in the test's directory: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["dse", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            dse.commands.main.main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


def one_line(error, *parts):
    text = str(error.value)
    assert "\n" not in text and all(part in text for part in parts), text


# ---------------------------------------------------------------------------------------------------------------------
# Dataflows: the default space, spaces, designs.


def test_a_dataflow_that_is_added_by_name_changes_no_default(monkeypatch):
    design = Accelerator()
    before = default_space().content(), default_space().hash, default_space().size
    tried = [str(c) for c in changes(design)], [choice[:2] for choice in choices(design)]
    monkeypatch.setitem(DATAFLOWS, MINE.name, MINE)
    assert Accelerator(dataflow="rows_of_pixels").dataflow == MINE
    assert (default_space().content(), default_space().hash, default_space().size) == before
    assert ([str(c) for c in changes(design)], [choice[:2] for choice in choices(design)]) == tried
    assert before[1].startswith("7543b6a3c") and len(PARAMETERS["dataflow"].levels) == 7


@pytest.mark.parametrize(
    "space",
    [
        DesignSpace({"rows": [4, 8], "dataflow": [MINE, "row_stationary", ODD]}),
        DesignSpace({"rows": [4, 8]}, Accelerator(dataflow=ODD), "own base"),
        DesignSpace({"dataflow": ["flexible", MINE]}, Accelerator(dataflow=ODD)),
        DesignSpace({"rows": [4, 8], "dataflow": ["row_stationary", "flexible"]}),
    ],
    ids=["levels", "base", "both", "built in"],
)
def test_a_space_with_dataflows_of_ones_own_is_read_back_equal(space, tmp_path):
    space.to_toml(tmp_path / "space.toml")
    again = DesignSpace.from_toml(tmp_path / "space.toml")
    assert again == space and again.hash == space.hash and again.content() == space.content()
    assert again.toml_text() == space.toml_text()


def test_a_dataflow_is_written_in_the_file_of_a_space(tmp_path):
    space = DesignSpace.from_toml(file_of(tmp_path, "space.toml", SPACE))
    assert space.variables[2].levels == (MINE, DATAFLOWS["weight_stationary"])
    assert space.hash == replace_levels(MINE).hash


def replace_levels(flow):
    return DesignSpace(
        {"rows": [8, 16], "cols": [8, 16], "dataflow": [flow, "weight_stationary"]}, Accelerator(overlap_skew=True)
    )


@pytest.mark.parametrize("flow", [MINE, ODD, DATAFLOWS["flexible"]], ids=str)
def test_a_design_with_a_dataflow_of_ones_own_is_read_back_equal(flow, tmp_path):
    design = Accelerator(rows=32, dataflow=flow)
    assert from_toml(file_of(tmp_path, "chip.toml", toml_text(design))) == design


NUMPYS = {
    "rows": np.int64(8),
    "dram_gbps": np.float64(32),
    "clock_ghz": np.float32(0.5),
    "feature_map_compression": Fraction(1, 2),
    "resident_activation_fraction": np.float64(0.25),
    "overlap_skew": 1.0,
    "overlap_load": np.bool_(False),
    "resident_weights": np.float64(1),
    "buffers": np.str_("W+I/O"),
}


def test_a_design_made_of_numpy_s_scalars_is_read_back_equal(tmp_path):
    """TOML held np.float64(32.0), or 1.0 for a flag, and could not be read back."""
    design, plain = Accelerator(**NUMPYS), (bool, int, float, str, Dataflow)
    assert all(type(getattr(design, name)) in plain for name in PARAMETERS), design
    assert design.overlap_skew is True and design.overlap_load is False and design.resident_weights is True
    assert from_toml(file_of(tmp_path, "chip.toml", toml_text(design))) == design
    space = DesignSpace({"rows": [4, 8]}, design)
    space.to_toml(tmp_path / "space.toml")
    assert DesignSpace.from_toml(tmp_path / "space.toml") == space
    constants = replace(Technology.at(28), dram_pj_per_bit=np.float64(5))
    constants.to_toml(tmp_path / "technology.toml")
    assert Technology.from_toml(tmp_path / "technology.toml").hash == constants.hash


@pytest.mark.parametrize("value", ["no", 2, 0.5, None, [True], np.array([True, False])], ids=repr)
def test_a_flag_that_is_neither_true_nor_false_is_refused(value):
    with pytest.raises(ValueError, match="overlap_skew must be True or False, got"):
        Accelerator(overlap_skew=value)


@pytest.mark.parametrize("flow", [MINE, ODD, DATAFLOWS["flexible"], "same"], ids=str)
def test_a_dataflow_as_plain_values_and_back(flow):
    plain = json.loads(json.dumps(plain_dataflow(flow)))
    back = dataflow_of_plain(plain)
    assert back == flow or DATAFLOWS[back] == flow
    with pytest.raises(ValueError, match="expected a dataflow as a name or as name and options"):
        dataflow_of_plain({"name": "a"})


def test_settings_know_the_dataflows_of_the_design_file(tmp_path):
    path = file_of(tmp_path, "chip.toml", f"[design]\nrows = 8\n{FLOWS}")
    assert choose(str(path)).design == Accelerator(rows=8)
    assert choose(str(path), ["dataflow=rows_of_pixels"]).design == Accelerator(rows=8, dataflow=MINE)
    with pytest.raises(ValueError, match="unknown dataflow 'mine'; the known ones are .*, rows_of_pixels$"):
        choose(str(path), ["dataflow=mine"])


OPTION = 'rows = ["C"], cols = ["K"], stationary = ["W"]'


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ("[dataflows]\nmine = 3", "[dataflows.mine]: expected a table with options, got 3"),
        ("[dataflows.mine]", "[dataflows.mine]: options must be a list of at least one"),
        ("[dataflows.mine]\noptions = []", "[dataflows.mine]: options must be a list of at least one"),
        ("[dataflows.mine]\noptions = [3]", "[dataflows.mine]: option 0: expected {rows"),
        ("[dataflows.mine]\noption = []", "[dataflows.mine]: key 'option' is unknown; did you mean 'options'?"),
        (f"[dataflows.mine]\noptions = [{{{OPTION}}}, {{{OPTION}, col = 1}}]", "option 1: key 'col' is unknown"),
        ('[dataflows.mine]\noptions = [{rows = ["C"]}]', "option 0: cols and stationary are missing"),
        (f"[dataflows.mine]\noptions = [{{{OPTION.replace('K', 'X')}}}]", "option 0: cols=('X',): unknown loop 'X'"),
        (f"[dataflows.mine]\noptions = [{{{OPTION.replace('W', 'X')}}}]", "give one or more of W, I, O"),
        ('[dataflows.mine]\noptions = [{rows = "C", cols = [], stationary = []}]', "rows must be a list of texts"),
        (f"[dataflows.mine]\noptions = [{{{OPTION}, forwards_inputs = 1}}]", "forwards_inputs must be true or false"),
        (f'[dataflows."mine 2"]\noptions = [{{{OPTION}, flatten = true}}]', '[dataflows."mine 2"]: option 0: key'),
        (
            f"[dataflows.row_stationary]\noptions = [{{{OPTION}}}]",
            "[dataflows.row_stationary]: dataflow 'row_stationary' is not the dataflow of this name that ships; rename",
        ),
    ],
)
@pytest.mark.parametrize("read", [DesignSpace.from_toml, from_toml], ids=["space", "design"])
def test_a_bad_dataflow_in_a_file_is_one_clear_line(read, flow, message, tmp_path):
    rest = "[variables]\nrows = [8, 16]\n" if read == DesignSpace.from_toml else "[design]\nrows = 8\n"
    with pytest.raises(ValueError) as error:
        read(file_of(tmp_path, "bad.toml", f"{rest}{flow}\n"))
    one_line(error, "bad.toml: ", message)


def test_an_unknown_name_in_a_file_lists_the_files_dataflows(tmp_path):
    with pytest.raises(ValueError) as error:
        DesignSpace.from_toml(file_of(tmp_path, "s.toml", SPACE.replace('dataflow = ["rows', 'dataflow = ["row')))
    one_line(error, "s.toml: variable 'dataflow': unknown dataflow 'row_of_pixels'; the known ones are", MINE.name)
    with pytest.raises(ValueError) as error:
        DesignSpace.from_toml(file_of(tmp_path, "s.toml", SPACE.replace("weight_stationary", "rows_of_pixels")))
    one_line(error, "variable 'dataflow' lists level 'rows_of_pixels' twice")


def test_a_built_in_dataflow_written_out_alike_is_that_dataflow(tmp_path):
    text = f'[dataflows.weight_stationary]\noptions = [{{{OPTION}}}]\n[design]\ndataflow = "weight_stationary"\n'
    assert from_toml(file_of(tmp_path, "chip.toml", text)) == Accelerator()


def test_two_dataflows_of_one_name_are_refused(tmp_path):
    other = Dataflow(MINE.name, ODD.options)
    for space in (
        DesignSpace({"dataflow": [MINE, other]}),
        DesignSpace({"rows": [4, 8]}, Accelerator(dataflow=Dataflow("flexible", ODD.options))),
    ):
        with pytest.raises(ValueError, match="rename"):
            space.to_toml(tmp_path / "space.toml")
    assert not (tmp_path / "space.toml").exists()
    layer = dse.MacLayer("a", K=16, C=16, OX=16)
    mixed = DesignSpace({"rows": [4, 8], "cols": [4, 8]}, Accelerator(dataflow=MINE))
    pair = [dse.Network.from_layers([layer], "one"), dse.Network.from_layers([layer], "two")]
    problem = SimultaneousDNNs(pair, space=mixed, dataflows=("same", other))
    with pytest.raises(ValueError, match="two dataflows are called 'rows_of_pixels'"):
        dse.explore(problem, evaluations=4, out=tmp_path / "run")
    assert own_dataflows([MINE, MINE, "flexible", 3, ODD]) == {MINE.name: MINE, ODD.name: ODD}


# ---------------------------------------------------------------------------------------------------------------------
# Runs with a dataflow of one's own.


def test_every_command_reads_a_run_with_a_dataflow_of_ones_own(tmp_path, dse_command):
    file_of(tmp_path, "space.toml", SPACE)
    options = ("-n", 8, "--space", "space.toml", "--no-random-twin", "--jobs", 1)
    assert dse_command("explore", "ptb_lstm_medium", *options, "--out", "run")[0] == 0
    assert DesignSpace.from_toml(tmp_path / "run" / "space.toml") == DesignSpace.from_toml(tmp_path / "space.toml")
    designs = dse.load(tmp_path / "run").designs
    index = designs["dataflow"].tolist().index(MINE.name)
    chosen = choose(f"{tmp_path / 'run'}:{index}")
    assert chosen.design.dataflow == MINE and chosen.own.dataflows == {MINE.name: MINE}
    done = dse.evaluate(chosen.design, dse.load_network("ptb_lstm_medium"), **chosen.options())
    assert done.latency_s == designs["latency_s"].iloc[index]
    design = ("--design", f"run:{index}")
    for command in ("evaluate", "explain", "relate", "tune"):
        code, out, err = dse_command(command, "ptb_lstm_medium", *design, *(["--out", command] * (command == "tune")))
        assert code == 0 and "unknown dataflow" not in out + err, (command, out, err)
    assert dse_command("evaluate", "ptb_lstm_medium", "--design", "run:knee")[0] == 0
    code, _, err = dse_command("schedule", "ptb_lstm_medium,ptb_lstm_medium", *design)
    assert code == 0, err
    for command in ("front", "resume"):
        assert dse_command(command, "run")[0] == 0
    assert dse_command("explore", "ptb_lstm_medium", *options, "--out", "warm", "--warm-start", "run")[0] == 0


def test_a_run_that_has_such_a_dataflow_fixed_is_read_back_and_resumed(tmp_path):
    space = DesignSpace({"rows": [8, 16], "cols": [8, 16]}, Accelerator(dataflow=ODD))
    problem = SingleDNN("ptb_lstm_medium", space=space)
    run = dse.explore(problem, evaluations=4, population=4, out=tmp_path / "run")
    assert choose(f"{tmp_path / 'run'}:0").design.dataflow == ODD
    assert DesignSpace.from_toml(tmp_path / "run" / "space.toml") == space
    assert problems.resume(tmp_path / "run").designs.equals(run.designs)


def test_dataflows_of_the_sub_arrays_are_read_back_from_a_run(tmp_path, dse_command):
    space = DesignSpace({"rows": [8, 16], "cols": [8, 16]})
    several = SimultaneousDNNs(
        ["ptb_lstm_medium", "wide_deep"], space, dataflows=("same", MINE), policies=("partition",)
    )
    run = dse.explore(several, evaluations=12, population=6, out=tmp_path / "run", random_twin=False)
    with_mine = np.flatnonzero(run.designs["dataflow_2"] == MINE.name)
    assert len(with_mine) and (tmp_path / "run" / "space.toml").is_file()
    chosen = choose(f"{tmp_path / 'run'}:{with_mine[0]}")
    assert chosen.values["dataflow_2"] == MINE
    code, _, err = dse_command("schedule", "ptb_lstm_medium,wide_deep", "--design", f"run:{with_mine[0]}")
    assert code == 0, err


def test_the_only_dataflow_of_the_sub_arrays_is_read_from_what_rebuilds_the_problem(tmp_path):
    """A lone dataflow is no variable, so that no table tells it."""
    space = DesignSpace({"rows": [8, 16], "cols": [8, 16]})
    several = SimultaneousDNNs(["ptb_lstm_medium", "wide_deep"], space, policies=("partition",), dataflows=(MINE,))
    dse.explore(several, evaluations=2, population=2, out=tmp_path / "run", random_twin=False)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["rebuild"] = {"dataflows": [plain_dataflow(MINE)]}
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    assert choose(f"{tmp_path / 'run'}:0").values["dataflows"] == [MINE]


def test_a_sub_array_may_be_given_the_designs_own_dataflow_by_name():
    design = Accelerator(dataflow=MINE)
    parts = Division((1, 1), dataflows=("rows_of_pixels", "weight_stationary")).of(design)
    assert [str(part.dataflow) for part in parts] == ["rows_of_pixels", "weight_stationary"]
    with pytest.raises(ValueError, match="unknown dataflow 'mine'"):
        Division((1, 1), dataflows=("mine", None)).of(design)


# ---------------------------------------------------------------------------------------------------------------------
# Any file.


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 5000, "a = " + "{a=" * 5000, "[" + "a." * 5000 + "a]", "a = 9" + "9" * 5000]
)
def test_a_file_that_is_nested_too_deeply_is_one_clear_line(text, tmp_path, dse_command):
    file_of(tmp_path, "deep.toml", text)
    code, out, err = dse_command("space", "deep.toml")
    assert code != 0 and "Traceback" not in out + err and "deep.toml: not a TOML file" in err
    assert len(err.strip().splitlines()) <= 2


def test_a_deeply_nested_file_that_is_closed_is_told_so(tmp_path):
    for text in ("a = " + "[" * 60 + "]" * 60, "[" + "a." * 60 + "a]"):
        with pytest.raises(ValueError, match="nested more than 50 levels deep"):
            DesignSpace.from_toml(file_of(tmp_path, "deep.toml", text))


def test_numbers_that_toml_does_not_have_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a whole number beyond 64 bits"):
        DesignSpace.from_toml(file_of(tmp_path, "big.toml", f"[variables]\nrows = [8, {2**64}]"))


# ---------------------------------------------------------------------------------------------------------------------
# Layers.

LAYERS = """
[network]
name = "attention block"

[[layer]]
name = "query"
K = 768
C = 768
OX = 128
inputs = ["x"]
output = "q"

[[layer]]
name = "softmax"
operator = "Softmax"
operations = 98304
input_elements = 16384
output_elements = 16384
"""


def test_layers_are_read_from_a_file(tmp_path):
    network = dse.load_network(file_of(tmp_path, "layers.toml", LAYERS))
    query = dse.MacLayer("query", K=768, C=768, OX=128, inputs=("x",), output="q")
    softmax = dse.VectorLayer("softmax", "Softmax", 98304, 16384, 16384)
    assert network == dse.Network("attention block", (query, softmax))
    assert dse.load_network(str(tmp_path / "layers.toml"), batch=None) == network
    named_by_file = dse.load_network(file_of(tmp_path, "block.toml", LAYERS[LAYERS.index("[[") :]))
    assert named_by_file == network.renamed("block")


WHOLE = dse.Network(
    "whole",
    (
        dse.MacLayer(
            "conv", "Conv", B=2, G=2, K=3, C=4, OY=5, OX=6, FY=3, FX=2, stride_y=2, stride_x=3, dilation_y=2, pad_y=1,
            pad_x=0, IX=40, static_weights=False, repeats=2, vector_operations=9, fused_input_elements=8,
            inputs=("x", 'odd "name"'), fused_input="s", output="y", weight="w", fused=("relu", "add"),
        ),
        dse.VectorLayer("pool", "Pool", 0, 4, 5, 6, 7, ("y",), "z"),
        dse.MacLayer("one MAC", repeats=3),
    ),
    parameters=24, tensor_elements={"x": 7, 'odd "name"': 8}, source="a test",
)  # fmt: skip


@pytest.mark.parametrize("network", [WHOLE, "wide_deep", "ptb_lstm_medium", "mobilenet_v2"])
def test_a_network_is_written_as_layers_and_read_back_equal(network, tmp_path):
    network = dse.load_network(network) if isinstance(network, str) else network
    again = dse.load_network(file_of(tmp_path, "layers.toml", network.toml_text()))
    assert again == network and again.tensor_elements == network.tensor_elements
    assert of_network(again) == of_network(network)


def test_every_field_of_a_layer_has_a_kind_that_a_file_can_hold():
    assert {f.type for kind in (dse.MacLayer, dse.VectorLayer) for f in fields(kind)} == set(EXPECTED)


ONE = '[[layer]]\nname = "a"\nK = 4\n'
SOFT = '[[layer]]\nname = "s"\noperator = "Softmax"\noperations = 4\ninput_elements = 4\noutput_elements = 4\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no layers; give at least one table [[layer]]"),
        ("layer = 3", "expected tables [[layer]], in double brackets, got layer = 3"),
        ('[layer]\nname = "a"', "expected tables [[layer]], in double brackets"),
        ("[[layers]]", "table 'layers' is unknown; did you mean 'layer'?"),
        ("[[layer]]\nK = 4", "[[layer]] number 1: name must be a text of its own, it has none"),
        (f"{ONE}[[layer]]\nname = 3", "[[layer]] number 2: name must be a text of its own, got 3"),
        (ONE + ONE, "two layers are called 'a'"),
        (f"{ONE}k = 4", "layer 'a': key 'k' is unknown; did you mean 'K'?"),
        (f"{ONE}stride = 4", "layer 'a': key 'stride' is unknown; did you mean 'stride_"),
        (f"{ONE}C = 1.5", "layer 'a': C must be a whole number, such as 16, got 1.5"),
        (f"{ONE}C = true", "layer 'a': C must be a whole number, such as 16, got True"),
        (f"{ONE}C = 0", "layer 'a': C must be a whole number >= 1, got 0"),
        (f"{ONE}pad_x = -1", "layer 'a': pad_x must be a whole number >= 0, got -1"),
        (f"{ONE}C = {2**52 + 1}", "layer 'a': C must be at most 2^52 = 4503599627370496, got 4503599627370497"),
        (f"{ONE}static_weights = 1", "layer 'a': static_weights must be true or false, got 1"),
        (f"{ONE}output = 1", "layer 'a': output must be a text, such as"),
        (f'{ONE}inputs = "x"', "layer 'a': inputs must be a list of texts, such as [\"a\"], got 'x'"),
        (f"{ONE}inputs = [1]", "layer 'a': inputs must be a list of texts"),
        (f"{ONE}operations = 4", "layer 'a': K is a key of MAC layers and operations one of vector layers"),
        (
            '[[layer]]\nname = "s"\noperations = 4',
            "layer 's': operator, input_elements and output_elements are missing",
        ),
        (f"{ONE}{SOFT}C = 4", "layer 's': C is a key of MAC layers"),
        (f"{ONE}{SOFT}weights = 4", "layer 's': key 'weights' is unknown; did you mean 'weight_elements'?"),
        (SOFT, "has no MAC layer"),
        (f"[network]\nnames = 'x'\n{ONE}", "[network]: key 'names' is unknown; did you mean 'name'?"),
        (f"[network]\nname = 3\n{ONE}", "[network]: name must be a text, got 3"),
        (f"[network]\nparameters = -3\n{ONE}", "[network]: parameters must be a whole number >= 0, got -3"),
        (f"[network]\ntensor_elements = 3\n{ONE}", "[network]: tensor_elements must be sizes by name"),
        (f"[network]\ntensor_elements = {{x = 'a'}}\n{ONE}", "[network.tensor_elements]: x must be a whole number"),
        (
            f'{ONE}inputs = ["y"]\n[[layer]]\nname = "b"\nK = 1\noutput = "y"',
            "layer 'a': inputs: 'y' is not written yet, layer 'b' writes it; put the layers in execution order",
        ),
    ],
)
def test_a_bad_file_of_layers_is_one_clear_line(text, message, tmp_path):
    with pytest.raises(NetworkError) as error:
        dse.load_network(file_of(tmp_path, "bad.toml", text + "\n"))
    one_line(error, "bad.toml: ", message)
    assert str(error.value).count("bad.toml") == 1


@pytest.mark.parametrize("keys", ["", 'operator = "Softmax"', "repeats = 4", "IX = 9"])
def test_a_layer_without_sizes_is_no_layer_of_one_mac(keys, tmp_path):
    """A table that lacked what makes a layer counted as one MAC."""
    with pytest.raises(NetworkError) as error:
        dse.load_network(file_of(tmp_path, "bad.toml", f'{ONE}[[layer]]\nname = "b"\n{keys}\n'))
    one_line(error, "bad.toml: layer 'b': neither a loop bound of a MAC layer (B, G, ", "a vector layer (operations, ")


def test_a_missing_file_of_layers_is_one_clear_line():
    with pytest.raises(NetworkError, match=r"none\.toml: cannot be read: No such file"):
        dse.load_network("none.toml")


def test_batch_and_sizes_are_refused_for_a_file_of_layers(tmp_path, dse_command):
    path = file_of(tmp_path, "layers.toml", LAYERS)
    for options in ({"batch": 4}, {"dims": {"seq": 4}}):
        with pytest.raises(NetworkError, match="batch and dims are for ONNX files; a file of layers says its own B"):
            dse.load_network(path, **options)
    for options in (("--batch", 4), ("--dim", "seq=4")):
        code, out, err = dse_command("evaluate", "layers.toml", *options)
        assert code != 0 and "layers.toml: batch and dims are for ONNX files" in err and "Traceback" not in out + err
    assert dse_command("evaluate", "layers.toml", "--batch", "file")[0] == 0


def test_every_command_takes_a_file_of_layers(tmp_path, dse_command):
    file_of(tmp_path, "layers.toml", LAYERS)
    file_of(tmp_path, "space.toml", "[variables]\nrows = [8, 16]\ncols = [8, 16]\n")
    file_of(tmp_path, "mix.toml", '[streams.a]\nnetwork = "layers.toml"\n[streams.b]\nnetwork = "wide_deep"\n')
    options = ("-n", 6, "--space", "space.toml", "--no-random-twin", "--jobs", 1)
    code, out, _ = dse_command("evaluate", "layers.toml", "--mappings")
    assert code == 0 and "attention block" in out and "softmax" in out
    assert dse_command("explain", "layers.toml")[0] == 0
    assert dse_command("relate", "layers.toml", "wide_deep")[0] == 0
    code, out, err = dse_command("tune", "layers.toml", "--out", "tuned")
    assert code != 0 and "layers.toml: a file of layers has no graph to edit" in err
    assert dse_command("explore", "layers.toml", *options, "--out", "one")[0] == 0
    both = ("--networks", "wide_deep,layers.toml", "--problem")
    assert dse_command("explore", *both, "geomean", *options, "--out", "several")[0] == 0
    assert dse_command("explore", *both, "simultaneous", *options, "--out", "mixed")[0] == 0
    assert dse_command("explore", "--mix", "mix.toml", "--problem", "simultaneous", *options, "--out", "mix")[0] == 0
    for run in ("one", "several", "mixed", "mix"):
        code, out, err = dse_command("resume", run)
        assert code == 0, (run, err)
    assert dse_command("schedule", "mix.toml", "--design", "mix:0")[0] == 0
    assert dse_command("evaluate", "layers.toml", "--design", "one:0")[0] == 0


def test_a_run_whose_layers_have_changed_is_refused_in_words(tmp_path):
    path = file_of(tmp_path, "layers.toml", LAYERS)
    space = DesignSpace({"rows": [8, 16], "cols": [8, 16]})
    dse.explore(SingleDNN(path, space=space), evaluations=4, population=4, out=tmp_path / "run")
    file_of(tmp_path, "layers.toml", LAYERS.replace("OX = 128", "OX = 64"))
    with pytest.raises(ValueError, match="network attention block has other layers"):
        dse.explore(SingleDNN(path, space=space), evaluations=4, population=4, out=tmp_path / "run")
