"""The files of a run: exact numbers, a complete column dictionary, and one clear line for every kind of trouble."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from standin import StandIn, StandInEvaluator, UnderPower, space

import dse.runs.design_log
import dse.runs.run_directory
from dse.costs.results import ENERGY_PARTS
from dse.hardware.accelerator import Accelerator
from dse.hardware.area import AREA_BLOCKS
from dse.hardware.dataflow import DATAFLOWS, Dataflow
from dse.hardware.space import DesignSpace
from dse.runs.column_dictionary import COLUMNS, PARAMETERS
from dse.runs.design_log import RunLog
from dse.runs.files import RunDirectoryError, write_whole
from dse.runs.run_directory import RunDirectory, read_manifest
from dse.runs.tables import frame, genes_of, read_table
from dse.search.balanced_designs import anchors
from dse.search.search_loop import explore, load
from problems.base import AcceleratorProblem

ARGUMENTS = {"evaluations": 100, "population": 20, "seed": 1}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Files of a finished run, by name."""
    path = tmp_path_factory.mktemp("finished")
    explore(UnderPower(), out=path, **ARGUMENTS)
    return {p.name: p.read_bytes() for p in path.iterdir()}


@pytest.fixture
def run(tmp_path, finished):
    """A fresh copy of the finished run, made to look interrupted."""
    for name, data in finished.items():
        (tmp_path / name).write_bytes(data)
    content = json.loads(finished["manifest.json"])
    content["status"] = "running"
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    return tmp_path


def continued(path, **changes):
    return explore(UnderPower(), out=path, **{**ARGUMENTS, **changes})


def tables(path):
    files = path.iterdir() if path.is_dir() else ()
    return {p.name: p.read_bytes() for p in files if p.name != "manifest.json"}


def refused(path, message, problem=UnderPower, **changes):
    """The run is refused with one line, and no table in the directory changes."""
    before = tables(path)
    with pytest.raises(RunDirectoryError, match=message) as caught:
        explore(problem(), out=path, **{**ARGUMENTS, **changes})
    assert "\n" not in str(caught.value)
    assert tables(path) == before
    return str(caught.value)


def test_floats_are_read_back_to_the_bit(tmp_path):
    class Odd(StandInEvaluator):
        def __call__(self, columns):
            rng = np.random.default_rng(int(columns["rows"].sum()))
            n = len(columns["rows"])
            odd = rng.standard_normal(n) * 10.0 ** rng.integers(-300, 300, n)
            return super().__call__(columns) | {"odd": odd, "tiny": np.full(n, 5e-324), "zero": np.full(n, -0.0)}

    problem = StandIn()
    problem.evaluator = Odd()
    log = RunLog(problem, "test", tmp_path / "designs.csv")
    rows = log.evaluate(space().sample(200, np.random.default_rng(0)), 1)
    table = read_table(tmp_path / "designs.csv")
    for name, values in rows.metrics.items():
        assert table[name].to_numpy(float).tobytes() == values.tobytes(), name
    assert log.text() == (tmp_path / "designs.csv").read_bytes()


def test_rows_show_the_parameters_of_the_design():
    problem = StandIn()
    log = RunLog(problem, "test")
    X = space().sample(50, np.random.default_rng(0))
    log.evaluate(X, 1)
    table = frame(log.text())
    for i, x in enumerate(X):
        parameters = space().design(x).parameters()
        assert {name: table[name][i] for name in space().names} == {name: parameters[name] for name in space().names}
    assert (genes_of(table, space()) == X).all()
    assert table.dram_gbps.dtype == float and 4.5 in set(table.dram_gbps) and table.rows.dtype == np.int64


def test_levels_with_commas_and_bools_survive():
    odd = Dataflow("mine, with a comma", DATAFLOWS["row_stationary"].options)
    mine = DesignSpace({"rows": [4, 8], "dataflow": [odd, "weight_stationary"], "overlap_skew": [True, False]})

    class Mine(AcceleratorProblem):
        """Mine."""

        objective_names = ("latency_s",)

    problem = Mine(StandInEvaluator(), mine)
    log = RunLog(problem, "test")
    log.evaluate(mine.all_designs(), 1)
    table = frame(log.text())
    assert set(table.dataflow) == {"mine, with a comma", "weight_stationary"}
    assert (genes_of(table, mine) == mine.all_designs()).all()
    bad = DesignSpace({"dataflow": [Dataflow('a "quoted" name', odd.options), "weight_stationary"]})
    with pytest.raises(ValueError, match="holds a quote or a line break; rename it"):
        RunLog(Mine(StandInEvaluator(), bad), "test")


def test_every_column_is_in_the_dictionary(finished):
    described = set(frame(finished["columns.csv"]).name)
    for name in ("designs.csv", "front.csv", "random_twin.csv", "convergence.csv"):
        assert set(frame(finished[name]).columns) <= described, name
    assert described - set(COLUMNS) == {"constraint_power"}  # the rest is documented by the package itself
    assert set(PARAMETERS) == set(Accelerator().parameters())
    assert {f"area_{b}_mm2" for b in AREA_BLOCKS} | {f"energy_{p}_j" for p in ENERGY_PARTS} <= set(COLUMNS)
    assert all(column.unit and column.meaning for column in COLUMNS.values())


def test_no_table_depends_on_the_clock(tmp_path, finished):
    explore(UnderPower(delay_s=0.001), out=tmp_path, **ARGUMENTS)
    for name in finished:
        assert name == "manifest.json" or (tmp_path / name).read_bytes() == finished[name], name


def test_manifest_tells_the_run(finished):
    content = json.loads(finished["manifest.json"])
    identity = content["identity"]
    assert identity["seed"] == 1 and identity["evaluations"] == 100 and identity["population"] == 20
    assert identity["problem"]["class"] == "UnderPower" and identity["space"]["order"] == list(space().names)
    assert set(content["versions"]) == {"accelerator-dse", "numpy", "numba", "llvmlite", "pymoo", "moocore"}
    assert content["status"] == "finished" and content["evaluations"] == 100 and content["wall_time_s"] > 0
    assert content["stopped_because"] == "the budget of 100 unique evaluations is used up"
    assert content["started"] <= content["ended"] and set(content["hypervolume"]) == {"nsga2", "random"}


def test_the_space_is_beside_it(tmp_path, finished):
    (tmp_path / "space.toml").write_bytes(finished["space.toml"])
    assert DesignSpace.from_toml(tmp_path / "space.toml").hash == space().hash


@pytest.mark.parametrize("cut", [1, 30, 200, 5000])
def test_torn_log_continues_to_the_same_bytes(run, finished, cut):
    log = run / "designs.csv"
    log.write_bytes(finished["designs.csv"][:-cut])
    result = continued(run)
    assert log.read_bytes() == finished["designs.csv"] and (run / "front.csv").read_bytes() == finished["front.csv"]
    assert any("dropped a torn last line" in note for note in result.notes)


def test_torn_header_and_empty_log_start_over(run, finished):
    for content in (b"", b"index,gener"):
        (run / "designs.csv").write_bytes(content)
        content = json.loads((run / "manifest.json").read_text())
        (run / "manifest.json").write_text(json.dumps(content | {"status": "running"}))
        continued(run)
        assert (run / "designs.csv").read_bytes() == finished["designs.csv"]


def test_a_finished_run_with_a_missing_file_is_made_whole(tmp_path, finished):
    for name, data in finished.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "front.csv").unlink()
    problem = UnderPower()
    explore(problem, out=tmp_path, **ARGUMENTS)
    assert (tmp_path / "front.csv").read_bytes() == finished["front.csv"]
    of_scale = len(anchors(problem.space))
    assert problem.evaluator.designs == 2 * dse.runs.design_log.VERIFIED + of_scale  # the rest from the logs


def test_a_finished_run_that_was_edited_is_refused(tmp_path, finished):
    for name, data in finished.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "front.csv").write_bytes(finished["front.csv"] + b"x\n")
    refused(tmp_path, "front.csv was changed after the run had finished; restore it, delete it")


def edit(data, line, change):
    lines = data.split(b"\n")
    lines[line - 1] = change(lines[line - 1])
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("line", "change", "message"),
    [
        (50, lambda row: b"garbage", r"designs.csv line 50 is not of this run: it has 1 values, expected \d+"),
        (50, lambda row: row + b",1", "line 50 is not of this run: it has"),
        (50, lambda row: row.replace(b".", b"x", 1), "line 50 is not of this run"),
        (50, lambda row: b"\xff\xfe" + row, "line 50 is not of this run: it is not text"),
        (50, lambda row: b"480" + row[2:], "line 50 is not of this run: index is 480 there, 48 in this run"),
        (7, lambda row: row.replace(b"nsga2", b"other"), "line 7 is not of this run: source is other there, nsga2 in"),
        (2, lambda row: row.replace(b"True", b"False") + b" ", "line 2 is not of this run"),
        (
            1,
            lambda row: row.replace(b"latency_s", b"time_s"),
            r"line 1 .* its columns are not .* \(latency_s, time_s\)",
        ),
    ],
)
def test_a_changed_line_is_refused_by_number(run, finished, line, change, message):
    (run / "designs.csv").write_bytes(edit(finished["designs.csv"], line, change))
    text = refused(run, message)
    assert "overwrite=True" in text and "warm_start=" in text


def test_a_changed_number_is_noticed(run, finished):
    table = frame(finished["designs.csv"])
    old = repr(float(table.energy_j[60])).encode()  # an objective is computed from it
    (run / "designs.csv").write_bytes(edit(finished["designs.csv"], 62, lambda row: row.replace(old, b"1.0", 1)))
    refused(run, "line 62 is not of this run")


def test_a_model_with_other_numbers_is_noticed(run):
    def problem():
        made = UnderPower()
        evaluate = made.evaluator
        made.evaluator = lambda columns: {k: v * 1.0000001 for k, v in evaluate(columns).items()}
        return made

    refused(run, "line 2 is not of this run: latency_s is .* there, .* in this run", problem=problem)


def test_a_log_longer_than_the_run_is_refused(run, finished):
    last = finished["designs.csv"].split(b"\n")[-2]
    (run / "designs.csv").write_bytes(finished["designs.csv"] + b"100" + last[2:] + b"\n")
    refused(run, "line 102 is not of this run: the search ends before this design")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 2}, "holds another run: seed 1 there, 2 now"),
        ({"evaluations": 101}, "evaluations 100 there, 101 now"),
        ({"population": 25}, "population 20 there, 25 now"),
        ({"algorithm": "spea2"}, "algorithm nsga2 there, spea2 now"),
        ({"random_twin": False}, "random twin on there, off now"),
        ({"problem": StandIn}, "problem UnderPower there, StandIn now"),
        ({"problem": lambda: UnderPower(small=True)}, "space stand-in there, small stand-in now"),
    ],
)
def test_another_configuration_is_refused_and_named(run, changes, message):
    text = refused(run, message, **changes)
    assert "overwrite=True" in text and "warm_start=" in text


def test_another_limit_is_refused_and_named(run):
    def limited():
        problem = UnderPower()
        problem.power_limit_w = 3.0
        return problem

    refused(run, "power_limit_w 1.0 there, 3.0 now", problem=limited)


def test_overwrite_throws_away_the_run_and_nothing_else(run):
    (run / "notes.txt").write_text("mine")
    result = continued(run, seed=9, overwrite=True)
    assert result.finished and read_manifest(run)["identity"]["seed"] == 9
    assert (run / "notes.txt").read_text() == "mine"


def test_a_directory_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    refused(tmp_path, r"holds files but no run \(thesis.tex\); choose an empty directory")
    (tmp_path / "thesis.tex").rename(tmp_path / ".gitkeep")
    assert continued(tmp_path).finished  # hidden files do not count


def test_a_broken_or_foreign_manifest_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"identity": ')
    refused(tmp_path, r"cannot read .*manifest.json: .*; restore it or start with overwrite=True")
    (tmp_path / "manifest.json").write_text('{"name": "a web app"}')
    refused(tmp_path, "is not the manifest of a run; choose another directory")


def test_a_file_in_the_place_of_the_directory(tmp_path):
    (tmp_path / "run").write_text("")
    refused(tmp_path / "run", "cannot write .*run: File exists")


def test_read_only_directory(tmp_path, monkeypatch):
    real = open

    def read_only(path, mode="r", *args, **kwargs):
        if "w" in mode and str(path).startswith(str(tmp_path)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, mode, *args, **kwargs)

    monkeypatch.setattr("builtins.open", read_only)
    refused(tmp_path, r"cannot write .*manifest.json: Permission denied; make room or choose another out directory")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room_bytes", [0, 4_000, 20_000])
def test_full_disk_leaves_whole_lines_and_continues(tmp_path, finished, monkeypatch, room_bytes):
    room = [room_bytes]

    def write(file, data):
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        n = min(room[0], len(data))
        room[0] -= n
        return os.write(file, data[:n])

    monkeypatch.setattr(dse.runs.design_log, "os", type("os", (), {**vars(os), "write": staticmethod(write)}))
    with pytest.raises(RunDirectoryError, match=r"cannot write .*csv: No space left on device; make room") as caught:
        continued(tmp_path)
    assert "\n" not in str(caught.value)
    for name in ("designs.csv", "random_twin.csv"):
        log = (tmp_path / name).read_bytes() if (tmp_path / name).exists() else b""
        assert finished[name].startswith(log) and (not log or log.endswith(b"\n"))
    monkeypatch.undo()
    continued(tmp_path)
    assert (tmp_path / "designs.csv").read_bytes() == finished["designs.csv"]


def test_a_really_full_device(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "designs.csv").symlink_to("/dev/full")
    log = RunLog.__new__(RunLog)
    log.path, log._file, log._whole_bytes = tmp_path / "designs.csv", os.open("/dev/full", os.O_WRONLY), 0
    with pytest.raises(RunDirectoryError, match="No space left on device"):
        log._write(b"1,2,3\n")
    log.close()


def test_write_whole_keeps_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "front.csv"
    path.write_text("old")
    monkeypatch.setattr(
        "dse.runs.files.os.fsync", lambda file: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space"))
    )
    with pytest.raises(RunDirectoryError, match="cannot write .*front.csv: No space"):
        write_whole(path, b"new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["front.csv"]


def test_two_processes_do_not_share_a_directory(tmp_path):
    if dse.runs.run_directory.fcntl is None:
        pytest.skip("no locks here")
    with RunDirectory(tmp_path, {}), pytest.raises(RunDirectoryError, match="another process is running in"):
        RunDirectory(tmp_path, {}).__enter__()
    with RunDirectory(tmp_path, {}):
        pass


def test_reading_what_is_not_a_run(tmp_path):
    with pytest.raises(RunDirectoryError, match="holds no manifest.json: it is not the directory of a run"):
        load(tmp_path)
    with pytest.raises(RunDirectoryError, match="cannot read .*designs.csv: No such file"):
        read_table(tmp_path / "designs.csv")
    (tmp_path / "designs.csv").write_text("a,b\n1,2\n1\n")
    with pytest.raises(RunDirectoryError, match="line 3 has 1 values, expected 2"):
        read_table(tmp_path / "designs.csv")
    (tmp_path / "designs.csv").write_text("a,b\n1,2\n1")
    assert len(read_table(tmp_path / "designs.csv")) == 1


def test_no_pickle_is_read_or_written():
    package = Path(dse.__file__).parent
    modules = [path for room in ("runs", "search") for path in (package / room).glob("*.py")]
    assert len(modules) > 10
    for module in modules:
        source = module.read_text()
        assert "import pickle" not in source and "np.load" not in source, module


def test_overwrite_waits_for_the_lock_before_it_removes_anything(run):
    """A run at work in another process keeps its files."""
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    identity = json.loads((run / "manifest.json").read_text())["identity"]
    second = RunDirectory(run, identity, overwrite=True)
    with RunDirectory(run, identity), pytest.raises(RunDirectoryError, match="another process is running"):
        second.__enter__()
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_that_began_before_the_lock_was_had_is_seen(tmp_path, finished):
    """The manifest was read before the lock: a run that another process had made meanwhile was written over."""
    identity = json.loads(finished["manifest.json"])["identity"]
    same, other = RunDirectory(tmp_path, identity), RunDirectory(tmp_path, identity | {"seed": 2})
    for name, data in finished.items():
        (tmp_path / name).write_bytes(data)
    for _twice in range(2):  # the lock is free again after a refusal
        with pytest.raises(RunDirectoryError, match="holds another run: seed 1 there, 2 now"):
            other.__enter__()
    with same:
        assert same.finished and same.manifest["evaluations"] == 100
    late = RunDirectory(tmp_path / "late", identity)
    (tmp_path / "late" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunDirectoryError, match=r"holds files but no run \(thesis.tex\)"):
        late.__enter__()


def test_a_run_that_another_process_finished_before_the_lock_was_had_is_not_run_again(tmp_path, finished, monkeypatch):
    if dse.runs.run_directory.fcntl is None:
        pytest.skip("no locks here")
    real = dse.runs.run_directory.fcntl.flock

    def late(*arguments):
        for name, data in finished.items():
            (tmp_path / name).write_bytes(data)
        return real(*arguments)

    monkeypatch.setattr(dse.runs.run_directory.fcntl, "flock", late)
    problem = UnderPower()
    assert explore(problem, out=tmp_path, **ARGUMENTS).finished
    assert problem.evaluator.designs == dse.runs.design_log.VERIFIED
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == finished


class WithTables(UnderPower):
    """Leaves a table of its own."""

    given = {"mine.csv": b"a\n1\n"}  # noqa: RUF012
    unidentified = (*UnderPower.unidentified, "given")

    def tables(self, front, search, twin):
        """A table, and what a test wants."""
        return self.given


def test_tables_of_ones_own_are_read_and_removed_with_the_run(tmp_path):
    """Their names stood in the manifest alone: `load` did not give them, and `overwrite` left them behind."""
    (tmp_path / "notes.txt").write_text("mine")
    run = explore(WithTables(), out=tmp_path / "run", **ARGUMENTS)
    assert run.texts["mine.csv"]() == load(run.directory).texts["mine.csv"]() == b"a\n1\n"
    path = run.directory / "manifest.json"
    content = json.loads(path.read_text())
    outside = ("../notes.txt", str(tmp_path / "notes.txt"), "..", ".", "", ".hidden", "a\\b")
    (run.directory / ".hidden").write_text("mine")
    path.write_text(json.dumps(content | {"files": content["files"] | dict.fromkeys(outside, "")}))
    assert not set(load(run.directory).texts) & set(outside)
    assert explore(WithTables(), out=run.directory, **ARGUMENTS).finished
    explore(StandIn(), out=run.directory, overwrite=True, **ARGUMENTS)
    assert not (run.directory / "mine.csv").exists() and (run.directory / ".hidden").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_tables_of_a_run_that_a_time_limit_stopped_are_read_too(tmp_path):
    run = explore(WithTables(), out=tmp_path, time_limit_s=1e-9, **ARGUMENTS)
    assert not run.finished and "mine.csv" in run.texts and "mine.csv" in load(tmp_path).texts
    assert explore(WithTables(), out=tmp_path, **ARGUMENTS).finished


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"../mine.csv": b""}, r"WithTables.tables\(\): '../mine.csv' is no plain name of a file"),
        ({".mine": b""}, "'.mine' is no plain name of a file"),
        ({3: b""}, "3 is no plain name of a file"),
        ({"designs.csv": b""}, "designs.csv is a file that every run has; choose another name"),
        ({"front.png": b""}, "front.png is a file that every run has"),
        ({"mine.csv": "a"}, r"mine.csv is str, expected bytes: a text's .encode\(\)"),
        (None, r"WithTables.tables\(\) returned NoneType, expected texts as bytes by name of a file"),
    ],
)
def test_tables_of_ones_own_write_over_no_other_file(tmp_path, given, message):
    problem = WithTables()
    problem.given = given
    with pytest.raises(ValueError, match=message):
        explore(problem, out=tmp_path / "run", **ARGUMENTS)
    assert not list(tmp_path.glob("*.csv"))


def test_only_regular_files_are_replaced(tmp_path):
    """A device or a folder under the name of a file is refused, not renamed over."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunDirectoryError, match="not a regular file"):
        write_whole(tmp_path / "folder", b"x")


@pytest.mark.parametrize("key", ("normalisation", "notes", "hypervolume"))
def test_a_manifest_that_lacks_a_key_is_one_line(run, key):
    content = json.loads((run / "manifest.json").read_text())
    content["status"] = "finished"
    del content[key]
    (run / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(RunDirectoryError, match=f"lacks {key}"):
        load(run)
