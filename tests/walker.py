"""A brute-force loop-nest walker: moves the actual words of a small layer through the levels, and counts.

Nothing of the cost model is used here, neither `dse.costs.formulas` nor `dse.costs.kernels`: no closed form, no product
of trip counts.  The loops of a mapping are run one by one; a word is a tuple of coordinates, such as (b, g, c, y, x)
of an input pixel; memories are sets of words; every copy from one memory to another is counted; every
multiply-accumulate is done on words that were brought there.  Accesses of a buffer are counted array step by array
step: the words of a copy are dealt to the steps that they belong to, and each step's words to banks.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product

LOOPS = ("B", "G", "K", "C", "OY", "OX", "FY", "FX")
GROUP_LOOPS = {"G": ("G",), "P": ("B", "OY", "OX"), "K": ("K",), "R": ("C", "FY", "FX")}
REUSE = {"W": "P", "I": "K", "O": "R"}


@dataclass
class Walk:
    """What a walk counted.

    words : [source, target, operand], words copied; "sum" is a partial sum, "O" a finished one.
    steps : [source, target, operand], array steps that the copied words are for, by words in a step.
    """

    words: Counter = field(default_factory=Counter)
    steps: dict = field(default_factory=dict)
    array_cycles: int = 0
    folds: int = 0
    macs: int = 0
    tile_words: dict[str, int] = field(default_factory=lambda: {"W": 0, "I": 0, "O": 0})
    tile_words_padded: int = 0


@dataclass(frozen=True)
class Loop:
    """One loop of the nest: which group it belongs to and how many trips a full tile makes."""

    name: str
    group: str
    trips: int


def chunks(low: int, high: int, size: int) -> list[tuple[int, int]]:
    """[low, high) cut from its start into chunks of `size`."""
    return [(i, min(i + size, high)) for i in range(low, high, size)]


class Walker:
    """Walks one mapping of one layer.  Call `run()` once; `walk` holds the counts."""

    def __init__(self, layer, option, mapping, resident=frozenset(), reload=False):
        self.reload = reload
        self.layer, self.option, self.mapping, self.resident = layer, option, mapping, resident
        self.bound = {d: getattr(layer, d) for d in LOOPS}
        self.flat = option.flatten_reduction
        self.walk = Walk()
        self.progress: Counter = Counter()  # products summed into each output so far
        self.depth_of_sum = layer.C * layer.FY * layer.FX
        self.cache: dict = {}
        self.weights_in_array = self.inputs_in_array = self.sums_in_array = frozenset()
        self.window_key, self.window = None, set()
        self.sum_step = None  # array step of the sums in the array
        self.home = {}
        for operand, tensor in (("W", "weights"), ("I", "inputs")):
            on_chip = tensor in resident
            self.home[operand] = "buffer" if on_chip or operand not in mapping.bypass else "dram"
        self.home["O"] = "dram" if "O" in mapping.bypass else "buffer"

    # Words.

    def pixels(self, axis: str, outputs, taps) -> list[int]:
        """Input positions on one axis that these outputs and taps meet, padding left out."""
        key = (axis, outputs, taps)
        if key not in self.cache:
            size = getattr(self.layer, "I" + axis.upper())
            self.cache[key] = [p for p in self.padded_pixels(axis, outputs, taps) if 0 <= p < size]
        return self.cache[key]

    def padded_pixels(self, axis: str, outputs, taps) -> list[int]:
        stride, dilation, pad = (getattr(self.layer, f"{what}_{axis}") for what in ("stride", "dilation", "pad"))
        return sorted({o * stride + f * dilation - pad for o in range(*outputs) for f in range(*taps)})

    def weight_words(self, at) -> frozenset:
        key = ("W", at["G"], at["K"], at["C"], at["FY"], at["FX"])
        if key not in self.cache:
            self.cache[key] = frozenset(product(*(range(*r) for r in key[1:])))
        return self.cache[key]

    def output_words(self, at) -> frozenset:
        key = ("O", at["B"], at["G"], at["K"], at["OY"], at["OX"])
        if key not in self.cache:
            self.cache[key] = frozenset(product(*(range(*r) for r in key[1:])))
        return self.cache[key]

    def input_words(self, at) -> frozenset:
        key = ("I", *(at[d] for d in ("B", "G", "C", "OY", "OX", "FY", "FX")))
        if key not in self.cache:
            rows, columns = self.pixels("y", at["OY"], at["FY"]), self.pixels("x", at["OX"], at["FX"])
            self.cache[key] = frozenset(product(*(range(*at[d]) for d in ("B", "G", "C")), rows, columns))
        return self.cache[key]

    def words_of_piece(self, at, reduction):
        """W, I and O words of an array piece; flattened, `reduction` lists its (c, fy, fx) and inputs are pairs."""
        if not self.flat:
            return self.weight_words(at), self.input_words(at), self.output_words(at)
        key = ("flat", tuple(at.items()), reduction)
        if key not in self.cache:
            weights = frozenset((g, k, *r) for g in range(*at["G"]) for k in range(*at["K"]) for r in reduction)
            layer, inputs = self.layer, set()
            for b, g, oy, ox in product(*(range(*at[d]) for d in ("B", "G", "OY", "OX"))):
                for c, fy, fx in reduction:
                    y = oy * layer.stride_y + fy * layer.dilation_y - layer.pad_y
                    x = ox * layer.stride_x + fx * layer.dilation_x - layer.pad_x
                    if 0 <= y < layer.IY and 0 <= x < layer.IX:
                        inputs.add((b, g, c, y, x, (oy, ox, fy, fx)))
            self.cache[key] = weights, frozenset(inputs), self.output_words(at)
        return self.cache[key]

    # The nest.

    def nest(self, order, trips) -> list[Loop]:
        """Loops in `order`, outer to inner: of groups, or loop by loop."""
        if len(order) == 8:
            group = {d: name for name, loops in GROUP_LOOPS.items() for d in loops}
            return [Loop(d, group[d], trips[d]) for d in order]
        return [Loop(d, group, trips[d]) for group in order for d in GROUP_LOOPS[group]]

    def load_depth(self, loops: list[Loop], operand: str) -> int:
        """Loops outside the load of `operand`: up to the innermost one that changes it and makes several trips."""
        depth = 0
        for i, loop in enumerate(loops):
            if loop.group != REUSE[operand] and loop.trips > 1:
                depth = i + 1
        return depth

    def run(self) -> Walk:
        mapping = self.mapping
        size = {d: min(t, self.bound[d]) for d, t in zip(LOOPS, mapping.buffer, strict=True)}
        tiles = {d: chunks(0, self.bound[d], size[d]) for d in LOOPS}
        outer_order = mapping.dram_order if len(mapping.dram_order) == 8 else ("G", *mapping.dram_order)
        outer = self.nest(outer_order, {d: len(tiles[d]) for d in LOOPS})
        inner_order = [g for g in ("G", "P", "K", "R") if g != REUSE[mapping.stationary]] + [REUSE[mapping.stationary]]
        inner_order = mapping.array_order or inner_order
        full = self.pieces({d: (0, size[d]) for d in LOOPS})
        inner = self.nest(inner_order, {d: len(full[d]) for d in LOOPS})
        depth = {x: self.load_depth(outer, x) for x in "WIO"}
        if self.reload:
            depth |= {"W": len(outer), "I": len(outer)}
        last = max((i for i, loop in enumerate(inner) if loop.trips > 1), default=len(inner) - 1)
        self.innermost = inner[last].name
        stay = max(self.load_depth(outer + inner, mapping.stationary), depth[mapping.stationary])
        place: dict = {x: None for x in "WIO"}
        held: dict = {x: frozenset() for x in "WIO"}
        stay_place = None
        for index in product(*(range(loop.trips) for loop in outer)):
            tile = {loop.name: tiles[loop.name][i] for loop, i in zip(outer, index, strict=True)}
            for x in "WIO":
                if index[: depth[x]] != place[x]:
                    place[x] = index[: depth[x]]
                    held[x] = self.load_tile(x, tile, held[x])
            pieces = self.pieces(tile)
            for step in product(*(range(len(pieces[loop.name])) for loop in inner)):
                at = {loop.name: pieces[loop.name][i] for loop, i in zip(inner, step, strict=True)}
                here = (index + step)[:stay]
                moves_on, stay_place = here != stay_place, here
                self.array_step(at, held, moves_on, (index, step[:last] + step[last + 1 :]))
        self.leave_array(self.sums_in_array)
        self.drain_tile(held["O"])
        assert all(self.progress[o] == self.depth_of_sum for o in self.output_words(self.whole())), "unfinished sums"
        return self.walk

    def whole(self):
        return {d: (0, self.bound[d]) for d in LOOPS}

    def pieces(self, tile) -> dict[str, list]:
        """Array pieces of one buffer tile by loop; flattened, those of C are tuples of (c, fy, fx)."""
        size = {d: s * r for d, s, r in zip(LOOPS, self.mapping.spatial, self.mapping.register, strict=True)}
        result = {d: chunks(*tile[d], size[d]) for d in LOOPS}
        if self.flat:
            every = tuple(product(*(range(*tile[d]) for d in ("C", "FY", "FX"))))
            result["C"] = [every[a:b] for a, b in chunks(0, len(every), size["C"])]
            result["FY"], result["FX"] = [tile["FY"]], [tile["FX"]]
        return result

    # DRAM to buffer.

    def copy(self, source, target, operand, words, steps=None):
        """Copy a set of words; `steps`: what tells the array step of a word, where the array takes or gives them."""
        if words:
            self.walk.words[source, target, operand] += len(words)
        if words and steps is not None:
            by_step = Counter(map(steps, words))
            self.walk.steps.setdefault((source, target, operand), Counter()).update(by_step.values())

    def load_tile(self, operand, tile, old) -> frozenset:
        new = {"W": self.weight_words, "I": self.input_words, "O": self.output_words}[operand](tile)
        self.walk.tile_words[operand] = max(self.walk.tile_words[operand], len(new))
        if operand == "I":
            rows = min(len(self.padded_pixels("y", tile["OY"], tile["FY"])), len(self.all_pixels("y")))
            columns = min(len(self.padded_pixels("x", tile["OX"], tile["FX"])), len(self.all_pixels("x")))
            channels = math.prod(tile[d][1] - tile[d][0] for d in ("B", "G", "C"))
            self.walk.tile_words_padded = max(self.walk.tile_words_padded, rows * columns * channels)
        if operand == "O":
            if "O" not in self.mapping.bypass:
                if old:
                    self.leave_array(self.sums_in_array & old)
                    self.sums_in_array -= old
                self.drain_tile(old)
                self.copy("dram", "buffer", "sum", [o for o in new if self.progress[o]])
        elif {"W": "weights", "I": "inputs"}[operand] not in self.resident and operand not in self.mapping.bypass:
            self.copy("dram", "buffer", operand, new)
        return new

    def all_pixels(self, axis):
        return self.pixels(axis, (0, self.bound["O" + axis.upper()]), (0, self.bound["F" + axis.upper()]))

    def drain_tile(self, old):
        if "O" in self.mapping.bypass:
            return
        done, partial = self.finished(old)
        self.copy("buffer", "store" if "outputs" in self.resident else "dram", "O", done)
        self.copy("buffer", "dram", "sum", partial)

    def finished(self, sums):
        """Those of some sums that are complete, and the others."""
        done = [o for o in sums if self.progress[o] == self.depth_of_sum]
        return done, [o for o in sums if self.progress[o] < self.depth_of_sum]

    # Buffer to array.

    def array_step(self, at, held, moves_on, position):
        """One piece through the array: bring what is not there yet, multiply and accumulate."""
        mapping, walk = self.mapping, self.walk
        reduction = at["C"] if self.flat else None
        if self.flat:
            at = at | {"C": (0, len(at["C"])), "FY": (0, 1), "FX": (0, 1)}
        weights, inputs, outputs = self.words_of_piece(at, reduction)
        if mapping.stationary != "W" or moves_on:
            self.copy(self.home["W"], "array", "W", weights, self.step_of("W", at, reduction))
            assert weights <= held["W"]
            self.weights_in_array = weights
        if mapping.stationary != "I" or moves_on:
            fresh = self.new_inputs(at, inputs, position)
            self.copy(self.home["I"], "array", "I", fresh, self.step_of("I", at, reduction))
            assert ({i[:5] for i in inputs} if self.flat else inputs) <= held["I"]
            self.inputs_in_array = inputs
        if mapping.stationary != "O" or moves_on:
            self.leave_array(self.sums_in_array)
            self.sum_step = self.step_of("O", at, reduction)
            self.copy(self.home["O"], "array", "sum", [o for o in outputs if self.progress[o]], self.sum_step)
            self.sums_in_array = outputs
        assert outputs <= held["O"]
        assert weights == self.weights_in_array
        assert inputs == self.inputs_in_array
        assert outputs == self.sums_in_array
        walk.folds += moves_on
        terms = len(weights) // ((at["G"][1] - at["G"][0]) * (at["K"][1] - at["K"][0]))
        for o in outputs:
            self.progress[o] += terms
        walk.macs += terms * len(outputs)
        steps = 1
        for d, s in zip(LOOPS, mapping.spatial, strict=True):
            steps *= len(chunks(*at[d], s))
        walk.array_cycles += steps

    # Array steps.

    def step_of(self, operand, at, reduction):
        """A function from a word of an array piece to the step, inside the piece, that first takes or gives it."""
        size = dict(zip(LOOPS, self.mapping.spatial, strict=True))
        block = {d: {i: (i - low) // size[d] for i in range(low, high)} for d, (low, high) in at.items()}
        if reduction is not None:
            block["R"] = {r: i // size["C"] for i, r in enumerate(reduction)}
        if operand == "O":
            return lambda word: tuple(block[d][i] for d, i in zip(("B", "G", "K", "OY", "OX"), word, strict=True))
        if operand == "W" and reduction is not None:
            return lambda word: (block["G"][word[0]], block["K"][word[1]], block["R"][word[2:]])
        if operand == "W":
            return lambda word: tuple(block[d][i] for d, i in zip(("G", "K", "C", "FY", "FX"), word, strict=True))
        if reduction is not None:
            return lambda word: (block["B"][word[0]], block["G"][word[1]], block["R"][word[2], *word[5][2:]],
                                 block["OY"][word[5][0]], block["OX"][word[5][1]])  # fmt: skip
        first: dict[str, dict[int, tuple]] = {"Y": {}, "X": {}}
        for axis, steps in first.items():
            for o, f in product(range(*at["O" + axis]), range(*at["F" + axis])):
                for position in self.padded_pixels(axis.lower(), (o, o + 1), (f, f + 1)):
                    here = (block["O" + axis][o], block["F" + axis][f])
                    steps[position] = min(steps.get(position, here), here)
        return lambda word: (block["B"][word[0]], block["G"][word[1]], block["C"][word[2]], first["Y"][word[3]],
                             first["X"][word[4]])  # fmt: skip

    def step_words(self) -> dict[str, int]:
        """Words of W, I and O in a step of all PEs in use."""
        depth = self.depth_of_sum if self.flat else self.bound["C"]
        size = {d: min(s, self.bound[d]) for d, s in zip(LOOPS, self.mapping.spatial, strict=True)}
        size["C"] = min(dict(zip(LOOPS, self.mapping.spatial, strict=True))["C"], depth)
        at = {d: range(n) for d, n in size.items()}
        places = list(product(at["B"], at["G"], at["OY"], at["OX"], at["C"], at["FY"], at["FX"]))
        if self.flat:
            inputs = set(places)
        else:
            rows, columns = ([self.padded_pixels(axis, (o, o + 1), (f, f + 1))[0] for o, f in product(*loops)]
                             for axis, loops in (("y", (at["OY"], at["FY"])), ("x", (at["OX"], at["FX"]))))  # fmt: skip
            inputs = set(product(at["B"], at["G"], at["C"], rows, columns))
        weights = set(product(at["G"], at["K"], at["C"], at["FY"], at["FX"]))
        outputs = set(product(*(at[d] for d in ("B", "G", "K", "OY", "OX"))))
        return {"W": len(weights), "I": len(inputs), "O": len(outputs)}

    def takers(self) -> dict[str, float]:
        """PEs that take each word of W and I, or give to each word of O, in a step that fills the spatial factors.

        Every PE with its lanes is one place of the array; a word is taken once by each PE that multiplies with it.
        """
        lanes = self.mapping.lanes
        at = {d: range(s) for d, s in zip(LOOPS, self.mapping.spatial, strict=True)}
        of: dict[str, dict[tuple, set]] = {"W": {}, "I": {}, "O": {}}
        for b, g, k, c, y, x, fy, fx in product(*(at[d] for d in LOOPS)):
            pe = (b, g, k, c // lanes, y, x, fy, fx)
            layer, row, column = self.layer, y, x
            if not self.flat:
                row = y * layer.stride_y + fy * layer.dilation_y
                column = x * layer.stride_x + fx * layer.dilation_x
            words = {"W": (g, k, c, fy, fx), "I": (b, g, c, row, column), "O": (b, g, k, y, x)}
            for operand, word in words.items():
                of[operand].setdefault(word, set()).add(pe)
        return {x: sum(map(len, words.values())) / len(words) for x, words in of.items()}

    def new_inputs(self, at, inputs, position) -> frozenset:
        """Input words that enter the array: all, or only new columns of a sweep where neighbours pass them along."""
        sweeps = {"W": "OX", "O": "FX"}.get(self.mapping.stationary)
        if self.flat or not self.option.forwards_inputs or sweeps is None or self.innermost != sweeps:
            return inputs
        key = position  # of every loop but the innermost, which is the one along x
        if key != self.window_key:
            self.window_key, self.window = key, set()
        fresh = inputs - self.window
        self.window |= fresh
        return fresh

    def leave_array(self, sums):
        done, partial = self.finished(sums)
        target = self.home["O"]
        self.copy("array", target, "sum", partial, self.sum_step)
        if target == "dram" and "outputs" in self.resident:
            target = "store"
        self.copy("array", target, "O", done, self.sum_step)


@dataclass(frozen=True)
class Buffer:
    """A buffer of some operands: its port's width over all banks [bytes], whether it counts accesses, and its ports."""

    operands: str
    width: Fraction
    banks: int
    accesses: bool = False
    writes_apart: bool = False


def accesses_of(count, words, word_bytes, buffer) -> Fraction:
    """Accesses to a bank for `count` words of steps that take `words` each: an edge step needs its share."""
    return Fraction(count, words) * math.ceil(words * Fraction(word_bytes) * buffer.banks / buffer.width)


def whole_accesses(walk: Walk, key, word_bytes, buffer) -> int:
    """Accesses to a bank for the words copied under `key`, every array step counted on its own."""
    bank = buffer.width / buffer.banks
    return sum(n * math.ceil(words * Fraction(word_bytes) / bank) for words, n in walk.steps.get(key, {}).items())


def bytes_moved(
    layer, option, mapping, widths, resident=frozenset(), padding=None, compression=1.0, reload=False, buffers=()
) -> tuple[dict[str, float], Walk]:
    """The walk in bytes, by the names of `dse.costs.formulas`, and cycles of the ports of some `buffers`.

    `widths`: bytes of a word of W, I, O and of a "sum"; `padding` by operand and `compression` of feature maps: bytes
    in DRAM / their size; `reload`: tiles of W and I are loaded at every step of the DRAM loops.
    """
    padding = padding or {"W": 1.0, "I": 1.0, "O": 1.0}
    walker = Walker(layer, option, mapping, resident, reload)
    walk = walker.run()

    def total(source, target, *operands):
        hits = [(key, n) for key, n in walk.words.items() if key[0] in source and key[1] in target]
        return sum(n * widths[key[2]] for key, n in hits if key[2] in operands)

    everywhere, fused = ("dram", "buffer", "array", "store"), layer.fused_input_elements * widths["I"]
    result = {
        "array_w": total(everywhere, ["array"], "W"),
        "array_i": total(everywhere, ["array"], "I"),
        "array_o_read": total(everywhere, ["array"], "sum"),
        "array_o_write": total(["array"], everywhere, "sum", "O"),
        "dram_w": total(["dram"], everywhere, "W") * padding["W"],
        "dram_i": total(["dram"], everywhere, "I") * (compression * padding["I"]),
        "dram_o_read": total(["dram"], everywhere, "sum") * padding["O"],
        "dram_o_write": (total(everywhere, ["dram"], "sum") + total(everywhere, ["dram"], "O") * compression)
        * padding["O"],
        "dram_fused": 0.0 if "fused_input" in resident else fused * compression,
        "buffer_w_read": total(["buffer"], everywhere, "W"),
        "buffer_w_write": total(everywhere, ["buffer"], "W"),
        "buffer_i_read": total(["buffer"], everywhere, "I") + (fused if "fused_input" in resident else 0.0),
        "buffer_i_write": total(everywhere, ["buffer"], "I") + total(everywhere, ["store"], "O"),
        "buffer_o_read": total(["buffer"], everywhere, "sum", "O"),
        "buffer_o_write": total(everywhere, ["buffer"], "sum", "O"),
    }
    result |= port_cycles(walker, widths, buffers, result)
    return result, walk


def port_cycles(walker, widths, buffers, moved) -> dict[str, float]:
    """Cycles of the ports of each buffer: one access a cycle and bank, or bytes over width."""
    words, cycles = walker.step_words(), {}
    for b, buffer in enumerate(buffers):
        busy = {"read": Fraction(0), "write": Fraction(0)}
        for x in buffer.operands:
            for way, ends in (("read", ("buffer", "array")), ("write", ("array", "buffer"))):
                lines = Fraction(moved[f"buffer_{x.lower()}_{way}"])
                for kind in (("O", "sum") if x == "O" else (x,)) if buffer.accesses else ():
                    count = walker.walk.words[(*ends, kind)]
                    lines -= count * Fraction(widths[kind])  # what is left moves in whole lines
                    accesses = accesses_of(count, words[x], widths[kind], buffer)
                    busy[way] += accesses / buffer.banks
                busy[way] += lines / buffer.width
        cycles[f"port_{b}"] = float(max(busy.values()) if buffer.writes_apart else sum(busy.values()))
    return cycles
