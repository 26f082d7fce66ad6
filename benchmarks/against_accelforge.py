"""Our least energy-delay product (EDP) against that of another mapper: AccelForge, 13 layers on 2 arrays.

AccelForge (PyPI `accelforge`, measured with 1.0.467) needs Python 3.12, so the tests do not run it.  In the root of the
project, with one environment for both tools:

    python3.12 -m venv accelforge-venv
    accelforge-venv/bin/pip install -e . accelforge==1.0.467
    accelforge-venv/bin/python benchmarks/against_accelforge.py

This maps every layer of `LAYERS` on every array of `ARRAYS` with both tools and writes
`benchmarks/data/accelforge.csv`, in about 10 minutes on one core.  Arguments `LAYER ARRAY` print one pair and
write nothing.

Both tools get the same hardware: `architecture` writes the array in AccelForge's words, and every energy in it is what
our model charges, at 45 nm as shipped: accesses, multiply-accumulates, wires and logic by the processing elements (PEs)
that take a word, clock and leakage by time.

Its mapper runs twice (`theirs`): with even tiles, which are nearly our mappings, and with tiles of each operand's own,
which our mappings cannot express.  Each row also says what our model charges for AccelForge's mappings where it can
express them (`translated`).  `benchmarks/data/README.md` says what is equal and what is not.
"""

from __future__ import annotations

import csv
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import dse
from dse import Accelerator, MacLayer, Mapping
from dse.costs import formulas
from dse.hardware.accelerator import OPERAND_NAMES, buffer_groups
from dse.hardware.dataflow import Dataflow, SpatialOption, dataflow_named
from dse.networks.layers import LOOPS, OPERANDS

STORED = Path(__file__).parent / "data" / "accelforge.csv"

TECHNOLOGY = dse.Technology.at(45)

_COMMON = {
    "weight_bits": 16,
    "activation_bits": 16,
    "accumulator_bits": 16,  # AccelForge has one width for a finished output and a partial sum
    "weight_register_bytes": 2,
    "input_register_bytes": 2,
    "output_register_bytes": 2,
    "double_buffered": "",
    "buffets": "WIO",  # a tile is held once and refilled behind the work
    "dram_gbps": 1e9,  # AccelForge has no fill and drain: let them take no time
}

ARRAYS = {
    # Weights stay; one buffer of 108 KiB for all operands.
    "ws_16x16": Accelerator(
        rows=16,
        cols=16,
        dataflow=Dataflow("channels", (SpatialOption(("C",), ("K", "G"), ("W",)),)),
        buffers="W+I+O",
        **{f"{x}_buffer_kib": 36 for x in OPERAND_NAMES.values()},
        **{f"{x}_buffer_width_bytes": 32 for x in OPERAND_NAMES.values()},
        **_COMMON,
    ),
    # Sums stay; one buffer of 48 KiB, with a port that is too narrow at times.
    "os_8x32": Accelerator(
        rows=8,
        cols=32,
        dataflow=Dataflow("pixels", (SpatialOption(("OX",), ("K", "G"), ("O",)),)),
        buffers="W+I+O",
        **{f"{x}_buffer_kib": 16 for x in OPERAND_NAMES.values()},
        **{f"{x}_buffer_width_bytes": 28 for x in OPERAND_NAMES.values()},
        **_COMMON,
    ),
}

LAYERS = {
    layer.name: layer
    for layer in (
        MacLayer("resnet50_stem_7x7_stride2", K=64, C=3, OY=112, OX=112, FY=7, FX=7, stride_y=2, stride_x=2),
        MacLayer("resnet50_res2_1x1_reduce", K=64, C=256, OY=56, OX=56),
        MacLayer("resnet50_res2_3x3", K=64, C=64, OY=56, OX=56, FY=3, FX=3),
        MacLayer("resnet50_res3_1x1_expand", K=512, C=128, OY=28, OX=28),
        MacLayer("resnet50_res4_3x3", K=256, C=256, OY=14, OX=14, FY=3, FX=3),
        MacLayer("resnet50_res4_3x3_stride2", K=256, C=256, OY=14, OX=14, FY=3, FX=3, stride_y=2, stride_x=2),
        MacLayer("resnet50_res5_1x1_expand", K=2048, C=512, OY=7, OX=7),
        MacLayer("bert_base_projection", K=768, C=768, OX=128),
        MacLayer("bert_base_feed_forward", K=3072, C=768, OX=128),
        MacLayer("mobilenet_v2_pointwise_expand", K=144, C=24, OY=56, OX=56),
        MacLayer("mobilenet_v2_pointwise_project", K=160, C=960, OY=7, OX=7),
        MacLayer("mobilenet_v2_depthwise_3x3", G=144, OY=56, OX=56, FY=3, FX=3),
        MacLayer("vgg16_conv5_3x3", K=512, C=512, OY=14, OX=14, FY=3, FX=3),
    )
}
"""Layers of real networks, batch 1.  Their inputs have the frame of zeros around them as if it were stored."""

FIELDS = (
    "layer",
    "array",
    *(
        f"{who}_{name}"
        for who in ("our", "their_even", "their_free")
        for name in ("edp_pj_cycles", "energy_pj", "cycles", "time_s")
    ),
    "our_edp_over_their_even_1",
    "our_edp_over_their_free_1",
    "their_even_mapping_edp_in_our_model_pj_cycles",
    "their_free_mapping_edp_in_our_model_pj_cycles",
    "their_even_mapping",
    "their_free_mapping",
)


@dataclass(frozen=True)
class Found:
    """The best mapping of a tool: cost, text; and as a mapping of ours, if that can express it.

    `time_s`: of the processor in the search, as both tools search in one process.
    """

    energy_pj: float
    cycles: float
    time_s: float
    text: str
    mapping: Mapping | None

    @property
    def edp(self) -> float:
        """Energy x cycles [pJ cycles]."""
        return self.energy_pj * self.cycles


def ours(layer: MacLayer, design: Accelerator, mapping: Mapping | None = None) -> Found:
    """The mapping of least EDP that our mapper finds; or the given one."""
    start = time.process_time()
    found = dse.evaluate(
        design, layer, technology=TECHNOLOGY, objective="edp", slack=0, effort="complete", mapping=mapping
    )
    taken_s = time.process_time() - start
    best = found.mappings[layer.name]
    return Found(1e12 * found.energy_j, found.cycles, taken_s, best.loop_nest(layer, design), best)


# ---------------------------------------------------------------------------------------------------------------------
# The same in AccelForge's words.

RANKS = {d: d.lower() for d in LOOPS}
"""Our loops as its rank variables."""


def _ranks(layer: MacLayer) -> dict[str, int]:
    """Bounds of the loops that a layer has, by rank variable; a layer needs each of its tensors indexed."""
    return {RANKS[d]: bound for d, bound in zip(LOOPS, layer.loop_bounds, strict=True) if bound > 1}


def workload(layer: MacLayer) -> str:
    """The layer as an Einsum, YAML."""
    ranks = _ranks(layer)

    def projection(loops: str) -> list[str]:
        return [f"{d}: {RANKS[d]}" for d in loops.split() if RANKS[d] in ranks]

    inputs = projection("B G C")
    for axis, o, f in (("y", "OY", "FY"), ("x", "OX", "FX")):
        terms = [f"{getattr(layer, f'stride_{axis}')} * {RANKS[o]}"] if RANKS[o] in ranks else []
        terms += [f"{getattr(layer, f'dilation_{axis}')} * {RANKS[f]}"] if RANKS[f] in ranks else []
        if len(terms) == 1 and RANKS[o] in ranks:
            terms = [RANKS[o]]  # one tap: what a stride skips is not stored
        inputs += [f"I{axis.upper()}: {' + '.join(terms)}"] if terms else []
    indices = {"W": projection("G K C FY FX"), "I": inputs, "O": projection("B G K OY OX")}
    lines = ["workload:", "  iteration_space_shape:"]
    lines += [f"    {rank}: 0 <= {rank} < {bound}" for rank, bound in ranks.items()]
    lines += ["  bits_per_value: {All: 16}", "  einsums:", "  - name: layer", "    tensor_accesses:"]
    for x in OPERANDS:
        output = ", output: True" if x == "O" else ""
        lines.append(f"    - {{name: {x}, projection: {{{', '.join(indices[x])}}}{output}}}")
    return "\n".join([*lines, "    renames: {weight: W, input: I, output: O}", ""])


def _component(
    kind: str, name: str, operands: str, read_pj: float, write_pj: float | None = None, **more: object
) -> str:
    """A memory or a toll (what passes it is charged and not kept), energies per byte.

    `more`: `throughput` [byte/cycle], `leak_power` [pJ/cycle] and other keys of AccelForge.
    """
    throughput = more.pop("throughput", "inf")
    more = {"leak_power": 0, "area": 0} | more
    lines = [f"  - !{kind}", f"    name: {name}"]
    lines += [f"    {key}: {value}" for key, value in more.items()]
    lines += [f"    tensors: {{keep: {' | '.join(operands)}}}", "    actions:"]
    for action, energy_pj in (("read", read_pj), ("write", write_pj)):
        if energy_pj is not None:
            lines.append(
                f"    - {{name: {action}, energy: {energy_pj!r}, bits_per_action: 8, throughput: {throughput}}}"
            )
    return "\n".join(lines)


def architecture(layer: MacLayer, design: Accelerator) -> str:
    """The array, YAML; energies in pJ and time in cycles.

    - Clock and leakage run with time: they are the leakage of `Dram`.
    - A word pays its way to the first PE that takes it and a step on to each next one: all but a step at `Bus`, a step
      at the toll of each PE, `PeW`, `PeI` and `PeO`.  A sum pays a step at each PE that adds to it.
    - The tolls of weights and inputs include the write to the register of the PE.  `SumsBack` is that of a sum that
      comes back.  What a multiply-accumulate takes of the registers is in `Mac`.
    """
    option = dataflow_named(design.dataflow).options[0]
    (stationary,) = option.stationary
    register_pj = {x: formulas.register_energy_pj_per_byte(design, TECHNOLOGY, x) for x in OPERANDS}
    way_pj = {x: formulas.way_pj_per_byte(design, TECHNOLOGY, x) for x in OPERANDS}
    bytes_of = formulas.word_bytes(layer, design)
    mac_pj = formulas.mac_energy_pj(layer, design, TECHNOLOGY) + bytes_of["sum"] * register_pj["O"][1]
    mac_pj += sum(bytes_of[x] * register_pj[x][0] for x in OPERANDS)
    timed = formulas.pj_per_cycle(design, TECHNOLOGY)
    always_pj = timed["clock"] + timed["leakage"]
    dram_pj = TECHNOLOGY.dram_pj_per_byte
    nodes = [_component("Memory", "Dram", "WIO", dram_pj, dram_pj, size="inf", leak_power=always_pj)]
    for held in buffer_groups(design.buffers):
        energies = formulas.buffer_energy_pj_per_byte(design, TECHNOLOGY, held[0])
        bits = 8 * formulas.buffer_capacity_bytes(design, held)
        width, _ = formulas.port_width_and_banks(design, held)
        nodes.append(_component("Memory", f"Buffer{held}", held, *energies, size=bits, throughput=width))
    for x in OPERANDS:
        first_pj, next_pj = way_pj[x]
        nodes.append(_component("Toll", f"Bus{x}", x, first_pj - next_pj, direction="up_and_down"))
    nodes.append(_component("Toll", "SumsBack", "O", register_pj["O"][1], direction="down"))
    nodes += ["  - !Container", "    name: Array", "    spatial:"]
    ranks = _ranks(layer)
    for name, loops, size in (("rows", option.on_rows, design.rows), ("cols", option.on_cols, design.cols)):
        idle = " | ".join(rank for rank in ranks if rank not in [RANKS[u.loop] for u in loops])
        nodes += [f"    - name: {name}", f"      fanout: {size}"]
        nodes.append(f"      loop_bounds: [{{expression: {idle}, operator: ==, value: 1}}]")
    for x in OPERANDS:
        arrives_pj = way_pj[x][1] + (0.0 if x == "O" else register_pj[x][1])
        nodes.append(_component("Toll", f"Pe{x}", x, arrives_pj, direction="up_and_down" if x == "O" else "down"))
    nodes.append(_component("Memory", f"Register{stationary}", stationary, 0.0, 0.0, size=8 * bytes_of[stationary]))
    nodes += ["  - !Compute", "    name: Mac", "    leak_power: 0", "    area: 0", "    actions:"]
    nodes.append(f"    - {{name: compute, energy: {mac_pj!r}, throughput: 1}}")
    return "\n".join(["arch:", "  nodes:", *nodes, ""])


def theirs(layer: MacLayer, design: Accelerator, even: bool) -> Found:
    """The mapping of least EDP that AccelForge finds, in one process.

    `even`: the buffer takes its tiles at two places of the loop nest at most and keeps no overlap of input tiles, which
    is nearly what our mappings are.  Otherwise each operand has tiles of its own.
    """
    from accelforge.frontend.spec import Spec
    from accelforge.mapper import Metrics
    from accelforge.mapper.FFM.main import map_workload_to_arch
    from accelforge.model.main import evaluate_mapping
    from accelforge.util.parallel import set_n_parallel_jobs

    set_n_parallel_jobs(1)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        files = [Path(place) / name for name in ("architecture.yaml", "workload.yaml")]
        for file, text in zip(files, (architecture(layer, design), workload(layer)), strict=True):
            file.write_text(text, encoding="utf-8")
        spec = Spec.from_yaml(*files)
    spec.mapper.metrics = Metrics.ENERGY_DELAY_PRODUCT
    spec.mapper._timeloop_style_even = even
    found = map_workload_to_arch(spec, print_progress=False, eval_in_detail=False)
    spec.model.metrics = spec.mapper.info_metrics
    spec.mapping = found.data.iloc[0]["Total<SEP>mapping"](_for_model=True)
    cost = evaluate_mapping(spec, flattened_arches=found.flattened_arches, evaluated_specs=found.evaluated_specs)
    taken_s = time.process_time() - start
    nodes = list(spec.mapping.nodes)
    text = "; ".join(node.compact_str() for node in nodes if type(node).__name__ != "Reservation")
    energy_pj, cycles = (float(cost.data[f"Total<SEP>{name}"].iloc[0]) for name in ("energy", "latency"))
    return Found(energy_pj, cycles, taken_s, text, translated(nodes, layer, design))


def translated(nodes: list, layer: MacLayer, design: Accelerator) -> Mapping | None:
    """AccelForge's mapping as ours; None where it has tiles that ours cannot express.

    Ours has one tile size for each loop, the same for all operands.  Theirs may hold tiles of the operands that differ
    in a loop, or keep the overlap of neighbouring input tiles (loops between where a tile is named and reserved).
    """
    loop_of = {rank: d for d, rank in RANKS.items()}
    relevant = {"W": "G K C FY FX".split(), "I": "B G C OY OX FY FX".split(), "O": "B G K OY OX".split()}
    size = dict(zip(LOOPS, layer.loop_bounds, strict=True))
    spatial = dict.fromkeys(LOOPS, 1)
    tile: dict[str, int] = {}
    named: dict[str, dict[str, int]] = {}
    order: list[str] = []
    inner: list[str] = []
    left = len(OPERANDS)
    for node in nodes:
        kind = type(node).__name__
        if kind == "Storage" and node.component.startswith("Buffer"):
            named |= {str(x): dict(size) for x in node.tensors}
        elif kind == "Reservation" and node.resource.startswith("Buffer"):
            for x in map(str, node.purposes):
                left -= 1
                if any(named[x][d] != size[d] for d in relevant[x]):
                    return None
                if any(tile.setdefault(d, size[d]) != size[d] for d in relevant[x]):
                    return None
        elif kind in ("Temporal", "Spatial"):
            d, step = loop_of[str(node.rank_variable)], int(node.tile_shape)
            trips = math.ceil(size[d] / step)
            size[d] = step
            if kind == "Spatial":
                spatial[d] *= trips
            elif trips > 1:
                loops = order if left else inner
                loops[:] = [*(e for e in loops if e != d), d]
    return Mapping(
        spatial,
        {},
        tile,
        dram_order=order or ("P", "K", "R"),
        array_order=inner,
        stationary=dataflow_named(design.dataflow).options[0].stationary[0],
    )


# ---------------------------------------------------------------------------------------------------------------------
# The table.


def row_of(layer: MacLayer, array: str) -> dict[str, object]:
    """One row of the table, by the names of `FIELDS`."""
    design = ARRAYS[array]
    we, even, free = ours(layer, design), theirs(layer, design, True), theirs(layer, design, False)
    row: dict[str, object] = {"layer": layer.name, "array": array}
    for who, found in (("their_even", even), ("their_free", free), ("our", we)):
        row |= {f"{who}_edp_pj_cycles": f"{found.edp:.9g}", f"{who}_energy_pj": f"{found.energy_pj:.9g}"}
        row |= {f"{who}_cycles": f"{found.cycles:.9g}", f"{who}_time_s": f"{found.time_s:.1f}"}
    for who, found in (("even", even), ("free", free)):
        row[f"our_edp_over_their_{who}_1"] = f"{we.edp / found.edp:.5f}"
        row[f"their_{who}_mapping_edp_in_our_model_pj_cycles"] = ""
        if found.mapping is not None:
            row[f"their_{who}_mapping_edp_in_our_model_pj_cycles"] = f"{ours(layer, design, found.mapping).edp:.9g}"
        row[f"their_{who}_mapping"] = found.text
    return row


def show(layer: MacLayer, array: str) -> None:
    """Print one pair in detail."""
    design = ARRAYS[array]
    for who in ("ours", "AccelForge, even tiles", "AccelForge, free tiles"):
        found = ours(layer, design) if who == "ours" else theirs(layer, design, "even" in who)
        print(f"{who}: {found.edp:.6g} pJ cycles, {found.energy_pj:.6g} pJ, {found.cycles:.6g} cycles")
        print(f"{found.time_s:.1f} s\n{found.text}", flush=True)
        if who != "ours" and found.mapping is not None:
            same = ours(layer, design, found.mapping)
            print(f"in our model: {same.edp:.6g} pJ cycles, {same.energy_pj:.6g} pJ, {same.cycles:.6g} cycles")


def main() -> None:
    """Measure all pairs and store them, or print one."""
    if len(sys.argv) == 3:
        show(LAYERS[sys.argv[1]], sys.argv[2])
        return
    part = STORED.with_suffix(".part")  # the table of before stays until the new one is whole
    with part.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, FIELDS, lineterminator="\n")
        table.writeheader()
        for array in ARRAYS:
            for layer in LAYERS.values():
                row = row_of(layer, array)
                table.writerow(row)
                file.flush()
                print(*(row[name] for name in FIELDS if not name.endswith("_mapping")), flush=True)
    part.replace(STORED)


if __name__ == "__main__":
    main()
