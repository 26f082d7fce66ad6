"""A run is known by what it computes: its numbers, not the text of its source; changes are told in words."""

import json
import re
from dataclasses import fields, make_dataclass, replace
from pathlib import Path

import numpy as np
import probe_coverage
import pytest
from standin import StandIn, UnderPower

import dse
import dse.costs.probes
import dse.runs.identity
from dse.costs import kernel_rows, kernels
from dse.costs.probes import N_DESIGNS, probe_designs, probe_network, probe_values
from dse.hardware import area
from dse.hardware.technology import Technology
from dse.networks import EIGHT
from dse.networks.layers import MacLayer, Network
from dse.runs.files import RunDirectoryError
from dse.runs.identity import (
    ELSEWHERE,
    differences,
    of_model,
    of_network,
    of_space,
    of_technology,
    technology_of,
    told,
)
from dse.search.search_loop import explore
from dse.simultaneous.co_runs import probe_values as mix_probes
from dse.simultaneous.mixes import Request
from problems import GeomeanDNN, SimultaneousDNNs, SingleDNN

BASE = Technology.at(45)
SMALL = Network("two layers", (MacLayer("a", K=8, C=8, OX=4), MacLayer("b", K=16, C=4)))
CONSTANTS = [f.name for f in fields(Technology) if f.type == "float" and f.name != "node_nm"]
"""All but a label."""
ARGUMENTS = {"evaluations": 20, "population": 10, "seed": 1}


def problem(technology=BASE, network=SMALL, **more):
    return SingleDNN(network, dse.small_space(), technology=technology, **more)


@pytest.fixture(scope="module")
def identity():
    return of_model(problem())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the real model."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    explore(problem(), out=path, **ARGUMENTS)
    return path


def refused(path, subject, message, **changes):
    with pytest.raises(RunDirectoryError, match=message) as caught:
        explore(subject, out=path, **{**ARGUMENTS, **changes})
    text = str(caught.value)
    assert "\n" not in text and not re.search("(?=[0-9]*[a-f])[0-9a-f]{20}", text), "in words, not as hashes"
    return text


def test_the_probe_set_is_small_and_of_every_kind(identity):
    values = probe_values(BASE)
    assert len(probe_designs()) == N_DESIGNS == len(values["latency_s"])
    assert values["layer_cycles"].shape == (N_DESIGNS, len(probe_network().layers))
    for name in ("overflow", "frozen_overflow", "ordered_overflow"):
        assert 0 < (values[name] == 0).sum() < values[name].size, name
    assert all(np.isfinite(array).all() for array in values.values())
    texts = identity["probes"]["values"]
    assert all((np.array(texts[name].split(), float) == values[name].ravel()).all() for name in texts)
    assert {design.dataflow.name for design in probe_designs()} == {
        *dse.hardware.dataflow.DEFAULT_DATAFLOWS, "row_stationary_sets", "flexible", "restricted", "passing",
    }  # fmt: skip


def test_equal_identities_have_no_differences(identity):
    assert differences(identity, of_model(problem())) == []
    assert json.loads(json.dumps(identity)) == identity


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_changed_constant_is_named(identity, name):
    """Every constant of the technology, one at a time."""
    base = BASE
    if name == "leakage_supply_exponent":  # it acts where the supply is not the nominal one
        base = replace(BASE, vdd_v=0.9)
        identity = of_model(problem(base))
    changed = replace(base, **{name: getattr(base, name) * 1.01 + 1e-9})
    lines = differences(identity, of_model(problem(changed)))
    assert lines[0].startswith(f"{name} of the technology {getattr(BASE, name):g}"[:30]), lines
    assert len(lines) == 2 and lines[1].startswith("the model computes other numbers: "), lines


METHODS = [
    "mac_energy_pj", "multiplier_energy_pj", "adder_energy_pj", "register_read_pj_per_byte",
    "register_write_pj_per_byte", "sram_read_pj_per_byte", "sram_write_pj_per_byte", "vector_operation_pj",
    "multiplier_area_um2", "adder_area_um2", "register_area_um2", "sram_area_um2", "flip_flop_bits", "logic_area_um2",
    "logic_energy_pj", "buffer_pj_per_byte", "register_pj_per_byte",
]  # fmt: skip
FORMULAS = [
    *((Technology, name) for name in METHODS),
    *((area, name) for name in ("_mac_um2", "_vector_lane_um2", "_wires_um2", "leakage_of_blocks_w")),
    *((kernel_rows, name) for name in ("layer_row", "option_rows")),
]


@pytest.mark.parametrize(("home", "name"), FORMULAS)
def test_a_changed_formula_is_noticed(identity, monkeypatch, home, name):
    """Formulas outside the kernel, one at a time, by a part in ten thousand (tables: by their last entry)."""
    formula = getattr(home, name)

    def changed(*arguments, **named):
        found = formula(*arguments, **named)
        if name == "layer_row":
            found[kernels.VECTOR_OPERATIONS] += 1
        elif name == "option_rows":
            found[:, kernels.OPT_FORWARDS] = 1 - found[:, kernels.OPT_FORWARDS]
        else:
            found = found * 1.0001
        return found

    probe_values.cache_clear()
    monkeypatch.setattr(home, name, changed)
    try:
        lines = differences(identity, of_model(problem()))
    finally:
        monkeypatch.undo()
        probe_values.cache_clear()
    assert len(lines) == 1
    pattern = r"the model computes other numbers: \w+ of probe \d+ was [\d.,e+-]+, is [\d.,e+-]+ \([\d,]+ of [\d,]+ val"
    assert re.match(pattern, lines[0]), lines


def test_numbers_of_another_machine_may_differ_in_the_last_digits(identity):
    """A relative difference of 1e-12 is the same run elsewhere, and another run here."""

    def nudged(by, machine):
        other = json.loads(json.dumps(identity))
        cycles = np.array(other["probes"]["values"]["cycles"].split(), float)
        cycles[12] *= 1 + by
        other["probes"]["values"]["cycles"] = " ".join(map(repr, cycles.tolist()))
        other["probes"]["environment"]["machine"] = machine
        return other

    here = identity["probes"]["environment"]["machine"]
    assert differences(nudged(ELSEWHERE / 4, "another"), identity) == []
    assert "cycles of probe 12 was" in differences(nudged(ELSEWHERE / 4, here), identity)[0]
    assert "cycles of probe 12 was" in differences(nudged(ELSEWHERE * 4, "another"), identity)[0]


def test_changed_numbers_refuse_a_finished_run(finished, monkeypatch):
    text = refused(finished, problem(replace(BASE, dram_pj_per_bit=9.0)), "dram_pj_per_bit of the technology 8.0 there")
    assert "warm_start=" in text and "overwrite=True" in text
    probe_values.cache_clear()
    leak = area.leakage_of_blocks_w
    monkeypatch.setattr(kernel_rows, "leakage_of_blocks_w", lambda blocks, technology: 2 * leak(blocks, technology))
    refused(finished, problem(), r"model computes other numbers: \w+ of probe \d+ was [\d.,e+-]+, is [\d.,e+-]+ \(")
    monkeypatch.undo()
    probe_values.cache_clear()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"technology": Technology.at(28)}, "technology 45 nm there, 28 nm now"),
        ({"network": replace(SMALL, name="other")}, "network two layers there, other now"),
        ({"network": replace(SMALL, layers=SMALL.layers[:1])}, r"has other layers \(layers 2 there, 1 now; macs 320"),
        ({"mapping_objective": "edp"}, "mapping_objective latency there, edp now"),
        ({"mapping_slack": 0.5}, "mapping_slack 0.01 there, 0.5 now"),
        ({"objectives": ("energy_j", "area_mm2")}, "objectives latency_s, area_mm2 there, energy_j, area_mm2 now"),
    ],
)
def test_another_problem_is_told_in_words(finished, changes, message):
    refused(finished, problem(**changes), message)


def test_another_space_is_told_in_words(finished):
    base = dse.small_space()
    levels = {v.name: v.levels for v in base.variables}
    default = SingleDNN(SMALL, dse.default_space())
    refused(finished, default, "space small there, default now")
    fewer = dse.DesignSpace(levels | {"rows": (8, 16)}, base.base, "small")
    text = "in the space small levels of rows 8.0, 16.0, 32.0, 64.0 there, 8.0, 16.0 now"
    refused(finished, SingleDNN(SMALL, fewer), text)
    fixed = dse.DesignSpace(levels, replace(base.base, clock_ghz=2.0), "small")
    refused(finished, SingleDNN(SMALL, fixed), "in the space small fixed clock_ghz none there, 2.0 now")
    turned = dse.DesignSpace(dict(reversed(levels.items())), base.base, "small")
    refused(finished, SingleDNN(SMALL, turned), "in the space small the variables come in another order")
    renamed = dse.DesignSpace(levels, base.base, "mine")
    assert explore(SingleDNN(SMALL, renamed), out=finished, **ARGUMENTS).finished  # the name alone is no difference


def test_a_changed_objective_of_a_finished_run_is_refused(tmp_path):
    """What a class of one's own computes is checked against every logged design."""
    explore(UnderPower(), out=tmp_path, **ARGUMENTS)

    class Other(UnderPower):
        """Counts the energy once more where the area is large."""

        def objectives(self, m):
            edp, area, energy = super().objectives(m)
            return np.where(m.area_mm2 > np.median(m.area_mm2), 2, 1) * edp, area, energy

    Other.__qualname__ = "UnderPower"
    refused(tmp_path, Other(), r"designs.csv line \d+ is not of this run: edp_js is")


def test_a_run_of_version_0_1_is_one_clear_line(tmp_path, finished):
    content = json.loads((finished / "manifest.json").read_text())
    content["identity"] = {
        "problem": {"class": "SingleDNN", "objectives": ["latency_s", "area_mm2"]},
        "space_sha256": "49" * 32,
        "model_sha256": "34" * 32,
        "versions": {"dse": "0.1.0"},
    }
    del content["versions"]
    for name in ("designs.csv", "front.csv"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    text = refused(tmp_path, problem(), "holds a run of version 0.1.0, which this version cannot continue")
    assert f"warm_start='{tmp_path}'" in text
    warmed = explore(problem(), warm_start=tmp_path, **ARGUMENTS)
    assert len(warmed.designs) == ARGUMENTS["evaluations"]


def test_a_probe_that_disappears_is_a_difference(identity):
    """Only the names of the probes of now were compared."""
    fewer = json.loads(json.dumps(identity))
    del fewer["probes"]["values"]["leakage_w"]
    assert differences(identity, fewer) == [f"the model's leakage_w was of {N_DESIGNS} probes, is of 0"]
    assert differences(fewer, identity) == [f"the model's leakage_w was of 0 probes, is of {N_DESIGNS}"]


def by_fields(value):
    """`repr`, of a network as a dataclass has it."""
    if isinstance(value, dse.Network):
        return f"Network({', '.join(f'{f.name}={getattr(value, f.name)!r}' for f in fields(value))})"
    return f"({by_fields(value[0])},)" if isinstance(value, tuple) and len(value) == 1 else repr(value)


@pytest.mark.parametrize("value", [probe_network(), (probe_network(),), [Request(0, 0.5, 1.0, (2,))], ("a", 1.0, None)])
def test_layers_are_told_as_the_first_runs_told_them(value):
    later = ", zero_share=0.0", ", weight_bits=0, weight_sparsity=''"
    assert told(value) == by_fields(value).replace(later[0], "").replace(later[1], "")


def test_a_new_field_with_its_default_changes_no_hash():
    """The hash was that of all fields: every run became foreign with a new one."""
    old = dse.MacLayer("a", K=8, C=8, OX=4)
    new = make_dataclass("MacLayer", [("sparsity", float, 0.0)], bases=(dse.MacLayer,), frozen=True)
    plain, sparse = new("a", K=8, C=8, OX=4), new("a", K=8, C=8, OX=4, sparsity=0.5)
    assert told(plain) == told(old) and told(sparse) == told(old).removesuffix(")") + ", sparsity=0.5)"


def test_a_constant_that_came_later_is_as_it_ships_at_the_node(identity):
    """A manifest lists the constants of its time."""
    for technology in (BASE, Technology.at(28), replace(BASE, name="mine", node_nm=40.0)):
        there, here = of_technology(technology), of_technology(technology)
        del there["dram_pj_per_bit"], there["sram_macro_um2"]
        assert technology_of(there) == replace(technology, notes=())
        assert differences({"problem": {"technology": there}}, {"problem": {"technology": here}}) == []
        here["dram_pj_per_bit"] = 9.0
        lines = differences({"problem": {"technology": there}}, {"problem": {"technology": here}})
        assert lines == ["dram_pj_per_bit of the technology 8.0 there, 9.0 now"]


def test_the_runs_in_results_are_known():
    """Their networks and spaces are told as those of now, but for additions of two networks that fuse elsewhere.

    Of the technology they name the constants that changed.
    """
    for path, networks in {"exact_fronts": EIGHT, "reference/resnet50_small_space": ("resnet50",)}.items():
        manifest = json.loads((Path(__file__).parents[1] / "results" / path / "manifest.json").read_text())["identity"]
        there = {key: manifest["problem"][key] for key in ("networks", "technology")}
        here = [of_network(dse.load_network(name)) for name in networks], of_technology(BASE)
        lines = differences({"problem": there}, {"problem": dict(zip(there, here, strict=True))})
        found = [line for line in lines if "has other layers (as many" in line]
        moved = [name for name in ("faster_rcnn_resnet50", "nasnet_a_large") if name in networks]
        assert sorted(line.split()[1] for line in found) == moved
        constants = [line for line in lines if line not in found]
        assert constants and all(
            re.search(r"^\w+ of the technology .* there, .* now|more constants of the", x) for x in constants
        )
    assert differences({"space": manifest["space"]}, {"space": of_space(dse.small_space())}) == []


@pytest.mark.parametrize("probes", [probe_values, mix_probes])
def test_cached_probe_values_cannot_be_changed(probes):
    """Who changed what one problem got changed the identity of every later one."""
    values = probes(BASE)
    assert probes(BASE) is values
    with pytest.raises(TypeError, match="does not support item assignment"):
        values["cycles"] = 0
    for array in values.values():
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    several = SimultaneousDNNs([SMALL, replace(SMALL, name="other")], space=dse.small_space())
    for subject in (problem(), GeomeanDNN([SMALL], space=dse.small_space()), several):
        subject.probe_values()["own"] = np.zeros(1)
        assert "own" not in subject.probe_values()


def test_a_probe_that_fails_is_named(monkeypatch):
    real = dse.costs.probes.step_results

    def failing(rows, *more):
        if rows[0, kernels.ROWS] == probe_designs()[5].rows:
            raise ZeroDivisionError("division by zero")
        return real(rows, *more)

    probe_values.cache_clear()
    monkeypatch.setattr(dse.costs.probes, "step_results", failing)
    with pytest.raises(RuntimeError, match=r"the cost model fails on probe \d+, Accelerator\(.*: division by zero"):
        of_model(problem())
    probe_values.cache_clear()


def test_a_log_of_another_machine_continues(tmp_path, monkeypatch):
    """Last digits of a log that another processor wrote do not refuse it; larger differences do."""
    whole = explore(StandIn(), out=tmp_path / "whole", **ARGUMENTS)

    def elsewhere(name, by):
        path = tmp_path / name
        path.mkdir()
        for file in whole.directory.iterdir():
            (path / file.name).write_bytes(file.read_bytes())
        content = json.loads((path / "manifest.json").read_text())
        content["identity"]["probes"]["environment"]["processor"] = "another"
        (path / "manifest.json").write_text(json.dumps(content | {"status": "running"}))
        lines = (path / "designs.csv").read_text().split("\n")
        column = lines[0].split(",").index("latency_s")
        cells = lines[3].split(",")
        cells[column] = repr(float(cells[column]) * (1 + by))
        lines[3] = ",".join(cells)
        (path / "designs.csv").write_text("\n".join(lines))
        return path

    assert explore(StandIn(), out=elsewhere("near", 2e-13), **ARGUMENTS).finished
    with pytest.raises(RunDirectoryError, match="line 4 is not of this run: latency_s is"):
        explore(StandIn(), out=elsewhere("far", 1e-9), **ARGUMENTS)


def test_problems_of_several_networks_have_their_probes():
    other = replace(SMALL, name="other")
    assert set(GeomeanDNN([SMALL, other], space=dse.small_space()).probe_values()) == set(probe_values(BASE))
    several = SimultaneousDNNs([SMALL, other], space=dse.small_space())
    assert set(several.probe_values()) == set(probe_values(BASE)) | set(mix_probes(BASE))
    mixes = mix_probes(BASE)
    assert len(set(mixes["mix_makespan_s"])) == 12 and set(mixes["mix_used_sub_arrays"]) == {1.0, 2.0, 3.0}


def test_the_smallest_probes_reach_every_line_of_the_kernel_and_notice_its_changes():
    """Shown with compilation off: every line of kernel, logic, area and power but those that only refuse.

    Of the mapper, a few lines that only end a search: its tables are full, its work is done, or nothing fits.
    The script takes minutes; it was run on the files as they are.
    """
    made_of, *lines = probe_coverage.OUT.read_text(encoding="utf-8").splitlines()
    assert made_of == f"sources {probe_coverage.made_of()}", "run PYTHONPATH=. python tests/probe_coverage.py again"
    unreached = [line.split(" ", 3)[1:] for line in lines if line.startswith("unreached")]
    source = (probe_coverage.ROOT / "dse" / "costs" / "kernels.py").read_text(encoding="utf-8")
    mapper = source[: source.index("# 5. The mapper")].count("\n") + 1
    of_mapper = [text for name, number, text in unreached if name == "kernels.py" and int(number) > mapper]
    others = [text for name, number, text in unreached if name != "kernels.py" or int(number) <= mapper]
    assert len(others) == 4 and all(text.startswith(("raise ", "unknown = ")) for text in others), others
    assert len(of_mapper) < 50, of_mapper
    changed = [line.split(" ", 2) for line in lines if line.startswith("changed")]
    known = probe_values(BASE)
    assert len(changed) == 14 and all(noticed in known for *_, noticed in changed), changed
