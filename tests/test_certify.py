"""A certificate is true, is found again after an interruption, and its checker finds what was edited."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import TECHNOLOGY, accelerators, best_cost, layers
from typer.testing import CliRunner

import dse
from dse.commands.main import app
from dse.costs import kernels as k
from dse.costs.kernel_rows import parameter_columns
from dse.hardware.area import area_mm2
from dse.problems import GeomeanDNN, SingleDNN
from dse.proof.bounds_of_designs import DesignBounds
from dse.proof.boxes import box_space, is_monotone
from dse.proof.branch_and_bound import Boxes
from dse.proof.certificate import read_boxes
from dse.runs.files import RunDirectoryError
from dse.runs.run_directory import CERTIFIED_BOXES

SPACE = dse.DesignSpace(
    {
        "rows": (4, 8, 16), "cols": (4, 16), "macs_per_pe": (1, 4), "interconnect": ("broadcast", "systolic"),
        "buffers": ("W+I+O", "W/I/O"), "weight_buffer_kib": (4, 16, 64), "input_buffer_kib": (4, 16),
        "resident_activation_fraction": (0.0, 0.5), "dram_gbps": (1, 4, 16),
    },
    dse.Accelerator(overlap_skew=True, weight_register_bytes=4, input_register_bytes=4),
    "tiny",
)  # fmt: skip
NETWORK = [
    dse.MacLayer("a", K=16, C=8, OY=12, OX=12, FY=3, FX=3, inputs=("x",), output="y"),
    dse.MacLayer("b", K=24, C=16, OY=12, OX=12, inputs=("y",), output="z"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run that missed a part of the front."""
    out = tmp_path_factory.mktemp("certify") / "run"
    problem = SingleDNN(NETWORK, SPACE)
    dse.explore(problem, evaluations=60, out=out, random_twin=False)
    return problem, out


@pytest.fixture(scope="module")
def certificate(run):
    return dse.certify(*run, within=0.02)


@pytest.fixture(scope="module")
def truth():
    """Least latency and area of every design, by the complete mapper."""
    evaluator = dse.BatchEvaluator(NETWORK, slack=None, effort="complete", n_jobs=2)
    found = evaluator(SPACE.columns(SPACE.all_designs()))
    fits = found["overflow"] == 0
    return np.column_stack([found["latency_s"], found["area_mm2"]])[fits]


def distance(front, points):
    """Largest share by which a point is better than all of a front in both."""
    factors = np.maximum(front[None, :, 0] / points[:, None, 0], front[None, :, 1] / points[:, None, 1])
    return factors.min(axis=1).max() - 1


def test_no_design_of_the_space_is_better_than_proven(certificate, truth):
    assert certificate.finished and certificate.proven <= 0.02 + 1e-9
    assert distance(certificate.front, truth) <= certificate.proven + 1e-9
    assert len(certificate.front) > 5


def test_the_runs_own_front_is_certified_too(run, certificate, truth):
    own = dse.BatchEvaluator(NETWORK, slack=None)
    front = dse.runs.tables.genes_of(dse.runs.tables.read_table(run[1] / "front.csv"), SPACE)
    found = own(SPACE.columns(front))
    own_distance = distance(np.column_stack([found["latency_s"], found["area_mm2"]]), truth)
    assert own_distance <= certificate.proven_of_run + 1e-9
    assert certificate.better > 0 and own_distance > certificate.proven


def test_files_of_the_run_stay_and_the_certificate_tells_itself(run, certificate):
    content = json.loads((run[1] / "certificate.json").read_text())
    assert content["statement"] == str(certificate) and f"{SPACE.size:,} in this space" in str(certificate)
    assert content["boxes"]["left"] == 0
    manifest = json.loads((run[1] / "manifest.json").read_text())
    assert manifest["certificate"]["proven"] == certificate.proven
    assert dse.explore(run[0], evaluations=60, out=run[1], random_twin=False).evaluations == 60
    lines = (run[1] / "certified_front.csv").read_text().splitlines()
    assert len(lines) == 1 + len(certificate.front)
    assert sum(line.startswith("certificate,") for line in lines) == certificate.better


def test_checker_agrees_and_boxes_cover_the_space(run, certificate):
    found = dse.check_certificate(*run, sample=60)
    assert found.proven == pytest.approx(certificate.proven) and found.designs == SPACE.size


def edited(path, **changes):
    """Write the boxes of a proof again with changed arrays."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    for name, (at, value) in changes.items():
        arrays[name][at] = value
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize(
    "changes",
    [
        {"done_latency": (3, 1e3)},
        {"done_area": (3, 1e6)},
        {"done_low": ((3, 0), 5)},
        {"done_category": (3, 0)},
        {"archive_F": ((2, 0), 1e-9)},
        {"done_area": (slice(None), np.nan)},
        {"done_latency": (slice(None), -1.0)},
    ],
)
def test_checker_names_what_was_edited(run, certificate, changes):
    path = run[1] / CERTIFIED_BOXES
    before = path.read_bytes()
    try:
        edited(path, **changes)
        with pytest.raises(RunDirectoryError, match=r"box \d+|no box|design 2"):
            dse.check_certificate(*run, sample=100_000)
        with pytest.raises(RunDirectoryError, match="edited after the proof wrote it; --check names the box"):
            dse.certify(*run, within=0.01)
    finally:
        path.write_bytes(before)


def test_a_proof_goes_on_after_an_interruption_to_the_same_boxes(tmp_path):
    problem, every = SingleDNN(NETWORK, SPACE), {}
    for name in ("whole", "interrupted"):
        out = tmp_path / name
        dse.explore(problem, evaluations=60, out=out, random_twin=False)
        if name == "interrupted":
            rounds = []

            def stop(step, rounds=rounds):
                rounds.append(step)
                if len(rounds) == 3:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                dse.certify(problem, out, within=0.05, progress=stop)
            assert not (out / "certificate.json").exists()
        dse.certify(problem, out, within=0.05, n_jobs=1 if name == "whole" else 2)
        kept = read_boxes(out / CERTIFIED_BOXES)
        every[name] = [*vars(Boxes.join([kept.open, kept.done])).values(), kept.archive_F, kept.history]
    assert all(np.array_equal(a, b) for a, b in zip(*every.values(), strict=True))


def test_a_killed_proof_goes_on_from_what_it_last_wrote(run, tmp_path, monkeypatch):
    monkeypatch.setattr("dse.proof.certificate.SAVE_EVERY_S", 0.0)
    problem, out, kept = SingleDNN(NETWORK, SPACE), tmp_path / "whole", tmp_path / "killed"
    dse.explore(problem, evaluations=60, out=out, random_twin=False)

    def copied(step):
        if step.searches and not kept.exists():
            shutil.copytree(out, kept)  # as a kill -9 would leave it

    whole = dse.certify(problem, out, within=0.02, progress=copied)
    left = read_boxes(kept / CERTIFIED_BOXES)
    assert len(left.open) and left.told["counts"][0] > 0 and not (kept / "certificate.json").exists()
    again = dse.certify(problem, kept, within=0.02)
    assert again.content["evaluations"] == whole.content["evaluations"] and again.proven == whole.proven
    assert (kept / "certified_front.csv").read_bytes() == (out / "certified_front.csv").read_bytes()


def test_explore_certifies_and_shows_it_in_report_and_figure(tmp_path):
    network = tmp_path / "two.toml"
    network.write_text(dse.Network("two", tuple(NETWORK)).toml_text())
    space = tmp_path / "tiny.toml"
    space.write_text(SPACE.toml_text())
    out = tmp_path / "run"
    command = ["explore", str(network), "--space", str(space), "-n", "60", "--no-random-twin", "--out", str(out)]
    done = CliRunner().invoke(app, [*command, "--certify", "5%"])
    assert done.exit_code == 0, done.output
    assert "Certified: no design of the" in " ".join(done.output.split())
    shown = dse.load(out)
    labels = [text.get_text() for text in dse.output.run_figures.front(shown).legends[0].get_texts()]
    share = 100 * shown.manifest["certificate"]["proven_of_the_runs_own_front"]
    assert f"proven within {share:.2g} %" in labels
    again = CliRunner().invoke(app, ["certify", str(out), "--check", "--sample", "20"])
    assert again.exit_code == 0 and "cover all" in again.output
    refused = CliRunner().invoke(app, [*command[:-1], str(tmp_path / "no"), "--objectives", "energy_j,area_mm2",
                                       "--certify", "5%"])  # fmt: skip
    assert refused.exit_code != 0 and not (tmp_path / "no").exists()


def test_limits_of_a_run_are_those_of_its_certificate(run, truth, tmp_path):
    cap = float(np.median(truth[:, 1]))
    problem = SingleDNN(NETWORK, SPACE).with_limits({"area_mm2": cap})
    run = dse.explore(problem, evaluations=60, out=tmp_path / "run", random_twin=False)
    assert "area at most" in dse.output.run_figures.caption(run)
    assert dse.certify(problem, tmp_path / "run").content["limits"] == {"area_mm2": cap}
    capped = SingleDNN(NETWORK, SPACE).with_limits({"power_w": 1.0})
    dse.explore(capped, evaluations=60, out=tmp_path / "power", random_twin=False)
    with pytest.raises(ValueError, match="limit of 'power_w' cannot be certified"):
        dse.certify(capped, tmp_path / "power")


def test_checker_looks_at_a_sample_of_the_large_space(tmp_path):
    problem = SingleDNN(NETWORK, dse.default_space())
    dse.explore(problem, evaluations=300, out=tmp_path / "run", random_twin=False)
    found = dse.certify(problem, tmp_path / "run", within=0.1, minutes=0.05)
    checked = dse.check_certificate(problem, tmp_path / "run", sample=40)
    assert checked.designs == dse.default_space().size and checked.proven == pytest.approx(found.proven)


RESIDENT = dse.DesignSpace(
    {"weight_buffer_kib": (2, 8), "dram_gbps": (1, 4)},
    dse.Accelerator(
        rows=4, cols=4, bypass="W", resident_weights=True, overlap_skew=True, weight_buffer_width_bytes=1,
    ),
    "weights that stay",
)  # fmt: skip


def test_a_larger_buffer_in_which_weights_stay_may_be_slower_and_is_enumerated():
    """Constant weights that stay as soon as they fit go through their port: a proof called a worse design the best."""
    assert "weight_buffer_kib" in box_space(RESIDENT).enumerated
    values = dse.Accelerator(resident_weights=True).parameters()
    assert not any(is_monotone(f"{x}_buffer_kib", values) for x in ("weight", "input", "output"))


def test_limits_that_leave_out_the_whole_front_of_a_run(truth, tmp_path):
    """Without a known design all factors are infinite, and boxes were split along axes of one level."""
    problem = SingleDNN(NETWORK, SPACE)
    dse.explore(problem, evaluations=60, out=tmp_path / "run", random_twin=False)
    for number, (share_l, share_a) in enumerate(((0.3, 0.5), (0.5, 0.3), (0.0, 1.0), (1.0, 0.0), (0.6, 0.6))):
        caps = [float(np.quantile(truth[:, i], share)) for i, share in enumerate((share_l, share_a))]
        out = tmp_path / f"limits_{number}"
        shutil.copytree(tmp_path / "run", out)
        found = dse.certify(problem, out, within=0.02, limits={"latency_s": caps[0], "area_mm2": caps[1]})
        inside = truth[(truth <= np.array(caps)).all(axis=1)]
        assert found.finished
        if len(inside):
            assert distance(found.front, inside) <= found.proven + 1e-9
        else:
            assert len(found.front) == 0 and "No design of the" in str(found) and "beats" not in str(found)
        json.loads((out / "certificate.json").read_text(), parse_constant=pytest.fail)
        assert dse.check_certificate(problem, out, sample=20).limits == {"latency_s": caps[0], "area_mm2": caps[1]}


def test_a_space_without_an_axis_is_enumerated(tmp_path):
    space = dse.DesignSpace(
        {"dataflow": ("weight_stationary", "output_stationary"), "interconnect": ("broadcast", "systolic")},
        dse.Accelerator(overlap_skew=True), "no axis",
    )  # fmt: skip
    problem = SingleDNN(NETWORK, space)
    dse.explore(problem, evaluations=4, out=tmp_path / "run", random_twin=False)
    assert dse.certify(problem, tmp_path / "run", within=0.05).finished
    assert dse.check_certificate(problem, tmp_path / "run").designs == 4


def test_a_proof_of_other_limits_is_not_overwritten_unless_asked_for(tmp_path):
    problem, out = SingleDNN(NETWORK, SPACE), tmp_path / "run"
    dse.explore(problem, evaluations=60, out=out, random_twin=False)
    dse.certify(problem, out, within=0.05)
    with pytest.raises(RunDirectoryError, match=r"proof of other limits .* --overwrite"):
        dse.certify(problem, out, within=0.05, limits={"area_mm2": 1.0})
    assert dse.certify(problem, out, within=0.05, limits={"area_mm2": 1.0}, overwrite=True).content["limits"]


@pytest.mark.parametrize("text", ["-5%", "5", "nan", "x"])
def test_a_share_that_is_none_is_refused_before_the_search(text, tmp_path):
    command = ["explore", "wide_deep", "-n", "20", "--out", str(tmp_path / "run"), "--certify", text]
    done = CliRunner().invoke(app, command)
    assert done.exit_code != 0 and not (tmp_path / "run").exists()


def test_limits_leave_out_designs(run, truth, tmp_path):
    problem, out = SingleDNN(NETWORK, SPACE), tmp_path / "limited"
    dse.explore(problem, evaluations=60, out=out, random_twin=False)
    cap = float(np.median(truth[:, 1]))
    found = dse.certify(problem, out, within=0.02, limits={"area_mm2": cap})
    inside = truth[truth[:, 1] <= cap]
    assert (found.front[:, 1] <= cap).all() and distance(found.front, inside) <= found.proven + 1e-9
    assert f"area_mm2 at most {cap:g}" in str(found)


def test_geometric_mean_is_certified(tmp_path):
    networks = [dse.Network("one", tuple(NETWORK[:1])), dse.Network("two", tuple(NETWORK[1:]))]
    problem = GeomeanDNN(networks, weights=[2.0, 1.0], space=SPACE)
    dse.explore(problem, evaluations=60, out=tmp_path / "mean", random_twin=False)
    found = dse.certify(problem, tmp_path / "mean", within=0.05)
    evaluator = problem.evaluator.with_slack(None)
    every = evaluator(SPACE.columns(SPACE.all_designs()))
    fits = every["overflow"] == 0
    points = np.column_stack([every["latency_s"], every["area_mm2"]])[fits]
    assert distance(found.front, points) <= found.proven + 1e-9 <= 0.05 + 1e-8


def test_what_cannot_be_certified_is_refused_in_one_line(run, tmp_path):
    problem, out = run
    with pytest.raises(ValueError, match="objective 'energy_j' cannot be certified"):
        dse.certify(SingleDNN(NETWORK, SPACE, objectives=("energy_j", "area_mm2")), out)

    class Capped(SingleDNN):
        constraint_names = ("power",)

        def constraints(self, m):
            return (m.power_w - 1,)

    with pytest.raises(ValueError, match="Capped cannot be certified"):
        dse.certify(Capped(NETWORK, SPACE), out)
    with pytest.raises(ValueError, match="limit of 'energy_j'"):
        dse.certify(problem, out, limits={"energy_j": 1.0})
    with pytest.raises(ValueError, match="within must be"):
        dse.certify(problem, out, within=-0.1)
    with pytest.raises(RunDirectoryError, match="is a run of another problem"):
        dse.certify(SingleDNN(NETWORK[:1], SPACE), out)
    with pytest.raises(RunDirectoryError, match="finish it first"):
        dse.explore(problem, evaluations=500, out=tmp_path / "cut", random_twin=False, time_limit_s=1e-6)
        dse.certify(problem, tmp_path / "cut")


def test_time_ends_a_proof_with_what_it_has(tmp_path):
    problem, out = SingleDNN(NETWORK, SPACE), tmp_path / "short"
    dse.explore(problem, evaluations=60, out=out, random_twin=False)
    found = dse.certify(problem, out, within=0.0, minutes=0)
    assert not found.finished and "the time was over" in str(found)
    assert dse.check_certificate(problem, out, sample=20).proven == pytest.approx(found.proven)


VARIED = (
    "rows", "cols", "macs_per_pe", "weight_register_bytes", "input_register_bytes", "output_register_bytes",
    "weight_buffer_kib", "input_buffer_kib", "output_buffer_kib", "weight_buffer_width_bytes",
    "input_buffer_width_bytes", "output_buffer_width_bytes", "weight_buffer_banks", "input_buffer_banks", "dram_gbps",
    "vector_lanes", "clock_ghz",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_declared_monotone_is_so_under_the_complete_mapper(data):
    layer, design = data.draw(layers(most_macs=60, most=5)), data.draw(accelerators())
    name, by = data.draw(st.sampled_from(VARIED)), data.draw(st.sampled_from((1.3, 2, 4)))
    design = design.with_parameters({"resident_activation_fraction": 0.0, "dram_type": ""})
    if not is_monotone(name, design.parameters()):
        return
    value = getattr(design, name)
    more = max(value + 1, int(value * by)) if isinstance(value, int) else value * by
    try:
        larger = design.with_parameters({name: more})
    except ValueError:  # a port wider than its buffer
        return
    before, after = (best_cost(layer, x, slack=None, effort="complete") for x in (design, larger))
    areas = [area_mm2(parameter_columns(x), TECHNOLOGY)[0] for x in (design, larger)]
    assert areas[1] >= areas[0] * (1 - 1e-12)
    if before[k.OVERFLOW] == 0:
        assert after[k.OVERFLOW] == 0
        slower = after[k.LEAST] / larger.clock_ghz > before[k.CYCLES] / design.clock_ghz * (1 + 1e-9)
        assert not slower


def test_boxes_of_the_default_space_hold_it_once_and_declare_what_is_true():
    space = dse.default_space()
    boxes = box_space(space)
    size = sum(len(kind.categories) * kind.size([0] * len(kind.axes), kind.tops) for kind in boxes.kinds)
    assert size == space.size and set(boxes.enumerated) == {"rows", "cols"}
    bounds = DesignBounds(space, [dse.load_network("resnet50")], [1.0], dse.Technology())
    assert dse.proof.boxes.broken_axes(boxes, bounds, 3, 60) == ()
