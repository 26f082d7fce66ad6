"""What stays on chip: the best set of whole tensors, whatever the order of the file; three routes agree."""

import itertools
import random
from dataclasses import replace

import numpy as np
import onnx
import pytest
from residency_routes import (
    RESIDENT_COLUMNS,
    Walk,
    formula_costs,
    in_run_order,
    programme_optimum,
    random_network,
    random_order,
    resident_of,
    sets_that_fit,
    shuffled,
    stays,
    tensor_names,
)

import dse
from dse.costs import kernels as k
from dse.costs.batches import BatchEvaluator, layer_cycles
from dse.costs.kernel_rows import EFFORTS, design_rows, network_tables, parameter_columns
from dse.costs.residency.choice import MOST_STATES, Store, choose, make_states, room_of, room_sizes
from dse.costs.residency.keeper import Keeper, spans_of
from dse.costs.results import DRAM_TRAFFIC
from dse.networks.catalogue import NETWORKS
from dse.networks.layers import MacLayer, Network, VectorLayer, layer_graph
from dse.networks.ordering import least_alive_order
from dse.simultaneous.co_runs import co_run
from dse.simultaneous.division import Division
from dse.simultaneous.mixes import Mix, Stream

TECHNOLOGY = dse.Technology()
SMALL = dse.Accelerator(
    rows=4, cols=4, macs_per_pe=2, weight_register_bytes=8, input_register_bytes=8, output_register_bytes=16,
    weight_buffer_kib=0.25, input_buffer_kib=0.5, output_buffer_kib=0.25, dram_gbps=1,
    resident_activation_fraction=0.5,
)  # fmt: skip


def keeper_of(network, design, effort="default", mode=0, slack=0.0, sure=False):
    rows, options = design_rows(parameter_columns(design), TECHNOLOGY)
    return Keeper(network_tables(network), options, mode, slack, EFFORTS[effort], sure), rows[0]


# ---------------------------------------------------------------------------------------------------------------------
# The order of the file.


def bits(design, network, **options):
    done = dse.evaluate(design, network, technology=TECHNOLOGY, **options)
    waterfall, energy = done.waterfall().values(), done.energy().values()
    return (done.cycles, done.energy_j, done.latency_bound_s, done.energy_bound_j, done.bound, *waterfall, *energy)


def test_any_order_of_the_layers_gives_the_same_times_beside_another_network():
    """Repeats belonged to the layers in the order of the file, costs to those in the order in which they run."""
    design, halves = replace(SMALL, cols=8, input_buffer_kib=2), Division((1, 1), shared_bandwidth=False)
    for seed in range(20):
        rng = random.Random(seed)
        network, other = random_network(rng, 14), random_network(rng, 5)
        network = replace(network, layers=tuple(replace(layer, repeats=rng.randint(1, 3)) for layer in network.layers))
        first, second = (
            co_run(Mix("m", (Stream("a", graph), Stream("b", other))), design, halves, [0, 1])
            for graph in (network, shuffled(network, rng))
        )
        assert first.metrics == second.metrics, seed
        alone = [
            dse.evaluate(part, graph).latency_s for part, graph in zip(halves.of(design), (network, other), strict=True)
        ]
        assert first.metrics["makespan_s"] == pytest.approx(max(alone), rel=1e-9), seed


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_any_order_of_the_layers_of_a_network_that_ships_gives_the_same_bits(name):
    network, rng = dse.load_network(name), random.Random(1)
    design = dse.Accelerator(input_buffer_kib=512, resident_activation_fraction=0.5, dram_gbps=4)
    first = bits(design, network)
    for _ in range(2 if len(network.layers) > 300 else 5):
        assert bits(design, shuffled(network, rng)) == first


def test_any_order_of_random_graphs_gives_the_same_bits():
    for seed in range(300):
        rng = random.Random(seed)
        network = random_network(rng, 14)
        assert bits(SMALL, shuffled(network, rng)) == bits(SMALL, network), seed


@pytest.mark.parametrize("name", ["inception_v3", "resnet50", "faster_rcnn_resnet50", "bert_base"])
def test_any_order_of_the_nodes_of_a_file_gives_the_same_bits(name, tmp_path):
    path, dims = NETWORKS[name].path, NETWORKS[name].dims
    design = dse.Accelerator(input_buffer_kib=512, resident_activation_fraction=0.5, dram_gbps=4)
    first = bits(design, dse.load_network(str(path), dims=dims))
    for seed in range(2):
        model = onnx.load(path, load_external_data=False)
        nodes = list(model.graph.node)
        makers = {output: i for i, node in enumerate(nodes) for output in node.output if output}
        reads = [{makers[name] for name in node.input if name in makers} for node in nodes]
        order = random_order(len(nodes), reads, random.Random(seed))
        del model.graph.node[:]
        model.graph.node.extend([nodes[i] for i in order])
        onnx.save(model, tmp_path / "other.onnx")
        assert bits(design, dse.load_network(str(tmp_path / "other.onnx"), dims=dims)) == first


def conv(name, kernels, channels, taps, read):
    return MacLayer(name, "Conv", K=kernels, C=channels, OY=28, OX=28, FY=taps, FX=taps, pad_y=taps // 2,
                    pad_x=taps // 2, IY=28, IX=28, inputs=(read,), output=name)  # fmt: skip


def two_branches(order):
    """Two branches that an addition joins: 3x3 and 3x3 of 64 kernels, 1x1 of 16 and 3x3 of 64."""
    every = {
        "a1": conv("a1", 64, 32, 3, "x"),
        "a2": conv("a2", 64, 64, 3, "a1"),
        "b1": conv("b1", 16, 32, 1, "x"),
        "b2": conv("b2", 64, 16, 3, "b1"),
    }
    last = MacLayer("o", "Conv", K=32, C=64, OY=28, OX=28, inputs=("a2",), fused_input="b2",
                    fused_input_elements=50176, output="y")  # fmt: skip
    return Network("n", (*(every[n] for n in order), last))


BRANCHES = dse.Accelerator(
    rows=16, cols=16, macs_per_pe=4, weight_register_bytes=16, input_register_bytes=16, output_register_bytes=64,
    overlap_skew=True, dram_gbps=1, input_buffer_kib=128, resident_activation_fraction=0.5,
)  # fmt: skip


def test_two_branches_cost_the_same_in_either_order():
    """First come, first served took 271,360 or 385,472 cycles, the first below the bound of the second, 343,040."""
    orders = ("a1", "a2", "b1", "b2"), ("b1", "b2", "a1", "a2")
    one, two = (bits(BRANCHES, two_branches(order), slack=0.0) for order in orders)
    assert one == two and one[0] == 270_208 and one[2] * 1e9 == pytest.approx(261_696, rel=1e-8)


def test_branches_run_in_the_order_that_keeps_least_alive():
    layers = in_run_order(two_branches(("b1", "a1", "b2", "a2")))
    assert [layer.name for layer in layers] == ["b1", "a1", "a2", "b2", "o"]  # b1 is small and waits for b2


def alive(graph, order):
    place = {node: i for i, node in enumerate(order)}
    n = len(order)
    last = {node: max([place[node], *(place[r] for r in range(n) if node in {s for _, s in graph.reads[r]})])
            for node in range(n)}  # fmt: skip
    return sum(graph.sizes[node] * (last[node] - place[node] + 1) for node in range(n))


def test_the_order_is_the_best_of_all_orders_on_small_graphs():
    for seed in range(60):
        network = random_network(random.Random(seed), 7)
        graph = layer_graph(network.layers, network.tensor_elements)
        n = len(network.layers)
        valid = [
            order for order in itertools.permutations(range(n))
            if all(order.index(s) < order.index(i) for i in range(n) for _, s in graph.reads[i] if s < n)
        ]  # fmt: skip
        assert alive(graph, least_alive_order(graph)) == min(alive(graph, order) for order in valid), seed


# ---------------------------------------------------------------------------------------------------------------------
# The choice.


def random_tables(lifetimes, n_layers, n_rooms, rng):
    """Costs of the cases of MAC layers and lines of vector steps, whatever they are."""
    first, second = (rng.integers(1, 30, (n_layers, k.N_VARIANTS, n_rooms)).astype(float) for _ in range(2))
    lines = rng.integers(0, 20, (len(lifetimes.writes), 2, 10)).astype(float)
    lines[:, :, 0] = 10_000
    lines[:, :, 5:9] = rng.integers(0, 3, (len(lifetimes.writes), 2, 4)) / 64
    return first, second, lines


def walked_cost(layers, walk, lifetimes, store, tables):
    """Sum of both costs of a set that a walk went through."""
    first, second, lines = tables
    total = np.zeros(2)
    for i, layer in enumerate(layers):
        keep = "output" in walk.found[i]
        if isinstance(layer, MacLayer):
            bit = {"inputs": k.IN_RESIDENT, "outputs": k.OUT_RESIDENT, "fused_input": k.FUSED_RESIDENT,
                   "weights": k.WEIGHTS_RESIDENT}  # fmt: skip
            case = sum(bit[name] for name in resident_of(layer, walk.found[i]))
            room = int(np.argmax(walk.fill[i] * store.word <= store.rooms[0] - store.rooms))
            total += first[lifetimes.cases[i], case, room], second[lifetimes.cases[i], case, room]
            continue
        line = lines[i, int(keep)]
        kept = sum(lifetimes.sizes[t] for t in lifetimes.reads[lifetimes.reads_first[i] : lifetimes.reads_first[i + 1]]
                   if walk.names[t] in walk.found[i])  # fmt: skip
        total += max(line[9], line[1] + kept * line[5], line[2] + kept * line[6]), line[4] + kept * line[8]
    return tuple(total)


def test_the_choice_equals_an_enumeration_of_all_sets_on_thousands_of_random_graphs():
    kept_some = 0
    for seed in range(2_000):
        network, rng = random_network(random.Random(seed), 7), np.random.default_rng(seed)
        layers, span = in_run_order(network), spans_of(network_tables(network))[0]
        lifetimes, n = span.lifetimes, len(layers)
        buffer = float(rng.choice([128, 256, 512]))
        store = Store(buffer * float(rng.choice([0.25, 0.5, 0.75])), 1.0, room_sizes(buffer, 0.75 * buffer), 0.0, 0)
        tables = random_tables(lifetimes, len(span.wanted), len(store.rooms), rng)
        kept, cases, rooms, fill = np.zeros(len(lifetimes.places), bool), *np.zeros((2, n), int), np.zeros(n)
        states = make_states(n, len(lifetimes.reads), len(kept))
        got = choose(lifetimes, store, *tables, states, MOST_STATES, np.inf, np.inf, kept, cases, rooms, fill)
        costs, names = {}, tensor_names(network)
        for chosen, walk in sets_that_fit(layers, network.tensor_elements, store.store):
            walk.names = names
            costs[frozenset(chosen)] = walked_cost(layers, walk, lifetimes, store, tables), walk
        chosen = frozenset(names[t] for t in np.flatnonzero(kept))
        best = min(cost for cost, _ in costs.values())
        assert got[2] and got[0] == pytest.approx(best[0], rel=1e-12), seed
        assert costs[chosen][0] == pytest.approx(best, rel=1e-9), seed
        assert list(fill) == costs[chosen][1].fill, seed
        kept_some += bool(chosen)
    assert kept_some > 1_000


def test_the_choice_equals_an_integer_programme_on_random_tables():
    for seed in range(40):
        network, rng = random_network(random.Random(seed), 12), np.random.default_rng(seed)
        span = spans_of(network_tables(network))[0]
        lifetimes, n = span.lifetimes, len(network.layers)
        store = Store(256.0, 1.0, room_sizes(512.0, 256.0), 0.0, 0)
        first, second, lines = random_tables(lifetimes, len(span.wanted), len(store.rooms), rng)
        first[:, :, 1:] += first[:, :, :1]
        first = np.maximum.accumulate(first, axis=2)  # the programme may take less room than there is
        kept, cases, rooms, fill = np.zeros(len(lifetimes.places), bool), *np.zeros((2, n), int), np.zeros(n)
        states = make_states(n, len(lifetimes.reads), len(kept))
        best, _, exact = choose(lifetimes, store, first, second, lines, states, MOST_STATES, np.inf, np.inf,
                                kept, cases, rooms, fill)  # fmt: skip
        assert exact and best == pytest.approx(programme_optimum(lifetimes, store, first, lines), rel=1e-6), seed


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("effort, seeds", [("complete", 12), ("default", 60)])
def test_the_best_set_costs_least_of_all_under_the_mappings_that_an_effort_finds(effort, seeds, mode):
    """With the complete mapper the set is chosen before most cases are mapped, and still is the best when all are."""
    improved = 0
    for seed in range(seeds):
        network = random_network(random.Random(seed), 6)
        keeper, row = keeper_of(network, SMALL, effort, mode, sure=True)
        found, layers = keeper.cost(row, np.empty(0)), in_run_order(network)
        costs = []
        for chosen, _ in sets_that_fit(layers, network.tensor_elements, row[k.STORE_BYTES]):
            costs.append(cost_of(keeper, row, found, network, chosen, mode))
        mine = cost_of(keeper, row, found, network, {t for t in stays(layers) if kept_of(network, found)[t]}, mode)
        assert found.exact == (True,) and mine == pytest.approx(min(costs), rel=1e-9), seed
        improved += mine < costs[0]
    assert improved


def kept_of(network, found):
    return dict(zip(tensor_names(network), found.plan.kept, strict=True))


def cost_of(keeper, row, found, network, chosen, mode):
    """What the mapper minimises, summed, where `chosen` stays."""
    part = keeper.given(row, found, np.array([name in chosen for name in tensor_names(network)]))
    cycles, pj = part.results[:, k.CYCLES], part.results[:, k.ENERGY_PJ]
    return float((cycles, pj, cycles * pj)[mode].sum())


# ---------------------------------------------------------------------------------------------------------------------
# Three routes: the kernel, formulas, and a walker that moves elements.


def test_formulas_kernel_and_walker_agree_on_random_graphs():
    shares = (0.25, 0.5, 0.75)
    for seed in range(600):
        rng = random.Random(seed)
        network = random_network(rng, 10)
        design = replace(
            SMALL,
            resident_activation_fraction=rng.choice(shares),
            activation_bits=rng.choice((8, 16)),
            feature_map_compression=rng.choice((1.0, 0.5)),
            buffers=rng.choice(("W/I/O", "W+I+O", "W/I+O")),
            input_buffer_kib=rng.choice((0.5, 1)),
        )
        keeper, row = keeper_of(network, design)
        found, layers = keeper.cost(row, np.empty(0)), in_run_order(network)
        kept = {name for name, stays_here in kept_of(network, found).items() if stays_here}
        walk = Walk(layers, network.tensor_elements, kept)
        word = design.activation_bits / 8
        assert max(walk.fill) * word <= row[k.STORE_BYTES]
        assert list(found.plan.fill) == [elements * word for elements in walk.fill], seed
        for i, layer in enumerate(layers):
            if isinstance(layer, MacLayer):
                resident = resident_of(layer, walk.found[i])
                for name, column in RESIDENT_COLUMNS.items():
                    there = name != "fused_input" or layer.fused_input
                    assert (found.results[i, column] == 0) == (name in resident or not there), (seed, i, name)
        expected = formula_costs(layers, design, TECHNOLOGY, walk, found.maps)
        assert expected["overflow"] == 0 or found.totals[0, k.OVERFLOW] > 0
        for name, value in (("cycles", found.totals[0, k.CYCLES]), ("energy_pj", found.totals[0, k.ENERGY_PJ]),
                            ("dram", found.totals[0, list(DRAM_TRAFFIC)].sum())):  # fmt: skip
            assert value == pytest.approx(expected[name], rel=1e-9), (seed, name)


def test_a_concatenation_costs_what_crosses_between_chip_and_dram():
    """Parts of 32 and 48 bytes; the whole stays, the second part does not: its 48 bytes come back from DRAM."""
    parts = [
        MacLayer(name, K=kernels, C=4, OX=16, inputs=("x",), output=name) for name, kernels in (("a", 2), ("b", 3))
    ]
    whole = VectorLayer("c", "Concat", 0, 0, 0, inputs=("a", "b"), output="c")
    last = MacLayer("o", K=4, C=5, OX=16, inputs=("c",), output="o")
    network = Network("n", (*parts, whole, last), tensor_elements={"a": 32, "b": 48, "c": 80})
    keeper, row = keeper_of(network, SMALL)
    found, at = keeper.cost(row, np.empty(0)), [layer.name for layer in in_run_order(network)].index("c")
    for chosen, read, written in (({"a", "c"}, 48, 0), ({"a"}, 0, 32), (set(), 0, 0), ({"a", "b", "c"}, 0, 0)):
        kept = np.array([name in chosen for name in tensor_names(network)])
        result = keeper.given(row, found, kept).results[at]
        assert (result[k.DRAM_I], result[k.DRAM_O_WRITE]) == (read, written), chosen
        assert (result[k.BUFFER_I_WRITE], result[k.BUFFER_I_READ]) == (read, written), chosen


# ---------------------------------------------------------------------------------------------------------------------
# More of everything; bounds.


def test_more_capacity_and_a_larger_share_never_cost_time():
    """With the complete mapper and no slack; at a slack a mapping may give up time for energy."""
    for seed in range(12):
        network = random_network(random.Random(seed), 7)
        designs = [
            replace(SMALL, input_buffer_kib=0.25 * size, resident_activation_fraction=share, weight_buffer_kib=weights)
            for size, share, weights in itertools.product((1, 1.5, 2, 4), (0.0, 0.3, 0.5, 0.75), (0.25, 0.5))
        ]
        cycles = [dse.evaluate(d, network, slack=0.0, effort="complete").cycles for d in designs]
        for (one, a), (two, b) in itertools.permutations(zip(designs, cycles, strict=True), 2):
            names = ("input_buffer_kib", "resident_activation_fraction", "weight_buffer_kib")
            if all(getattr(one, name) <= getattr(two, name) for name in names):
                assert b <= a * (1 + 1e-12), (seed, one, two)


def test_room_never_falls_where_the_buffer_grows():
    for held in (1.0, 300.0, 5_000.0, 70_000.0):
        before = 0.0
        for buffer in np.linspace(1.5 * held, 6 * held, 500):
            rooms = room_sizes(float(buffer), 0.75 * buffer)
            room = rooms[room_of(rooms, held)]
            assert before <= room <= buffer - held and room >= 0.8 * (buffer - held)
            before = room


def test_bounds_hold_for_every_set_and_do_not_know_the_choice():
    for seed in range(100):
        network = random_network(random.Random(seed), 8)
        done = dse.evaluate(SMALL, network, slack=0.0)
        nothing = dse.evaluate(SMALL, network, slack=0.0, keep="none")
        assert done.latency_bound_s == nothing.latency_bound_s <= done.latency_s <= nothing.latency_s
        assert done.energy_bound_j == nothing.energy_bound_j <= min(done.energy_j, nothing.energy_j)
        keeper, row = keeper_of(network, SMALL)
        found = keeper.cost(row, np.empty(0))
        for chosen, _ in sets_that_fit(in_run_order(network), network.tensor_elements, row[k.STORE_BYTES])[:40]:
            kept = np.array([name in chosen for name in tensor_names(network)])
            assert keeper.given(row, found, kept).totals[0, k.CYCLES] >= done.latency_bound_s * 1e9 * (1 - 1e-12)


def test_keeping_nothing_equals_a_design_without_a_store():
    network = dse.load_network("mobilenet_v2")
    design = dse.Accelerator(input_buffer_kib=512, resident_activation_fraction=0.5)
    nothing, without = dse.evaluate(design, network, keep="none"), dse.evaluate(
        replace(design, resident_activation_fraction=0.0), network
    )  # fmt: skip
    assert nothing.cycles == without.cycles and nothing.energy_j == without.energy_j
    cycles, _ = layer_cycles([design], network, keep="none")
    assert np.array_equal(cycles[0], nothing.layers["cycles"] * nothing.layers["repeats"])


# ---------------------------------------------------------------------------------------------------------------------
# What is told, and what is refused.


def test_an_evaluation_tells_what_stays_and_what_each_saves():
    done = dse.evaluate(BRANCHES, two_branches(("a1", "a2", "b1", "b2")), slack=None)  # no bytes paid for energy
    told = done.on_chip
    assert told.steps == ("b1", "a1", "a2", "b2", "o") and told.store_bytes == 64 * 1024
    assert [(t.name, t.writer, t.last_reader, t.first_step, t.last_step) for t in told.kept] == [
        ("b1", "b1", "b2", 0, 3), ("a1", "a1", "a2", 1, 2), ("b2", "b2", "o", 3, 4),
    ]  # fmt: skip
    assert told.fill_bytes.tolist() == [12_544, 62_720, 62_720, 62_720, 50_176]
    saved = told.savings()
    for tensor in told.kept:
        assert saved[tensor.name].dram_bytes >= 2 * tensor.size_bytes and saved[tensor.name].cycles > 0
    following, need = told.next_store()
    assert following.name == "a2" and need == 62_720 + 50_176
    larger = replace(BRANCHES, input_buffer_kib=2 * need / 1024)
    assert "a2" in [t.name for t in dse.evaluate(larger, two_branches(("a1", "a2", "b1", "b2"))).on_chip.kept]
    nearly = replace(BRANCHES, input_buffer_kib=2 * (need - 1) / 1024)
    assert len(dse.evaluate(nearly, two_branches(("a1", "a2", "b1", "b2"))).on_chip.kept) == 3


def test_a_tensor_larger_than_the_store_is_not_kept_and_said():
    done = dse.evaluate(replace(BRANCHES, input_buffer_kib=32), two_branches(("a1", "a2", "b1", "b2")))
    assert [t.name for t in done.on_chip.too_large] == ["a1", "a2", "b2"]
    assert not {"a1", "a2", "b2"} & {t.name for t in done.on_chip.kept}


def test_a_search_makes_the_quick_choice_and_an_evaluation_the_best():
    network, better = dse.load_network("inception_v3"), 0
    for input_kib, bandwidth in ((256, 2), (1024, 32)):
        design = dse.Accelerator(
            input_buffer_kib=input_kib, resident_activation_fraction=0.5, dram_gbps=bandwidth, macs_per_pe=4
        )
        metrics = BatchEvaluator(network, TECHNOLOGY)(parameter_columns(design))
        quick = dse.evaluate(design, network, technology=TECHNOLOGY, keep="quick")
        best = dse.evaluate(design, network, technology=TECHNOLOGY)
        assert metrics["cycles"][0] == quick.cycles and metrics["energy_j"][0] == quick.energy_j
        assert best.on_chip.proven and not quick.on_chip.proven and best.cycles <= quick.cycles
        assert layer_cycles([design], network, technology=TECHNOLOGY)[1][0, k.CYCLES] == best.cycles
        better += best.cycles < quick.cycles
    assert better


def layer(name, reads, writes):
    return MacLayer(name, K=4, C=4, OX=4, inputs=(reads,), output=writes)


REFUSED = {
    "read each other in a cycle": [layer("a", "y", "x"), layer("b", "x", "y")],
    "layer 'a' reads 'y' before layer 'b' writes it; list every layer after": [layer("a", "y", "z"),
                                                                               layer("b", "x", "y")],
    "layers 'a' and 'b' both write 'y'": [layer("a", "x", "y"), layer("b", "x", "y")],
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_graphs_that_cannot_run_are_refused(message):
    with pytest.raises(ValueError, match=message):
        Network("n", tuple(REFUSED[message]))


def test_an_unknown_word_for_what_to_keep_is_refused():
    with pytest.raises(ValueError, match="keep 'all': choose one of best, quick, none"):
        dse.evaluate(SMALL, random_network(random.Random(0)), keep="all")
