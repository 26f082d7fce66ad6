"""The outside judge: simulated annealing over all integer mappings of one layer on one design.

Usage: python benchmarks/mapping_judge.py [pairs] [seed] [objective] [effort]     # 20 pairs: half a minute

It knows nothing of the mapper's candidates.  Searched are the spatial factor of every loop on each axis (any whole
number from 1: idle PEs too), lanes, register and buffer tiles of all eight loops (any size), the DRAM order, the
stationary operand, the spatial option and the set of bypasses; array loops in the default order.  The product costs
each mapping (`kernels.evaluate_mapping`) and confirms the winner (`dse.evaluate(mapping=)`: accepted, same cycles).
Half of the restarts begin at random, half at the mappings handed in, as a rule the mapper's own.

What it finds is an upper bound of the least cost: a mapper that the judge beats has lost something, one that it does
not beat may have.  `tests/all_mappings.py` says what is least for tiny layers; the judge finds it there
(`tests/test_mapping_judge.py`).

The compiled loop is not cached on disk: numba would not notice an edit of the kernel.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from mapper_access import best_mapping
from numba import njit

import dse
from dse.costs import kernels as k
from dse.costs.kernel_rows import design_rows, layer_row, parameter_columns

OBJECTIVES = ("latency", "energy", "edp")
W_LOOPS, I_LOOPS, O_LOOPS = "G K C FY FX".split(), "B G C OY OX FY FX".split(), "B G K OY OX".split()
RESTARTS, STEPS = 12, 40_000
HOTTEST, COLDEST = 2.0, 2e-4
"""Restarts of a search, steps of each; temperature of the first and of the last step [relative cost]."""

N_STATE = k.N_MAP + 8  # a mapping row, then the spatial factor of each slot: four loops on rows, four on columns
_compiled = njit(nogil=True, error_model="numpy")


@dataclass(frozen=True)
class Judged:
    """The best mapping that the judge has found; its cost is what `dse.evaluate` says of it."""

    cycles: float
    energy_pj: float
    mapping: dse.Mapping


# ---------------------------------------------------------------------------------------------------------------------
# Sizes.


@_compiled
def _extent(layer, option, d):
    """Loop `d` as the array sees it: flattened, C stands for C, FY and FX."""
    if option[k.OPT_FLATTEN] > 0:
        if d == k.C:
            return layer[k.C] * layer[k.FY] * layer[k.FX]
        if d == k.FY or d == k.FX:
            return 1.0
    return layer[d]


@_compiled
def _steps(layer, option, state, d):
    """Spatial steps of loop `d` in a buffer tile."""
    taps = 1.0
    if option[k.OPT_FLATTEN] > 0:
        if d == k.FY or d == k.FX:
            return 1.0
        if d == k.C:
            taps = layer[k.FY] * layer[k.FX]
    return np.ceil(min(state[k.MAP_T + d], layer[d]) * taps / state[k.MAP_S + d])


@_compiled
def _log_uniform(least, most):
    """A random whole number, as likely in each octave."""
    return min(most, np.floor(least * np.exp(np.random.random() * np.log((most + 1) / least))))


@_compiled
def _critical(whole):
    """A size where the trips over a loop of `whole` change: the least, or the largest, of some number of trips."""
    trips = _log_uniform(1.0, whole)
    least = np.ceil(whole / trips)
    if trips > 1 and np.random.random() < 0.3:
        return max(least, np.ceil(whole / (trips - 1)) - 1)
    return least


@_compiled
def _near(size, whole):
    """A size beside this one: one more or less, one trip more or less, twice, half."""
    which = np.random.randint(6)
    if which == 0:
        size += 1
    elif which == 1:
        size -= 1
    elif which == 2:
        size = np.ceil(whole / (np.ceil(whole / size) + 1))
    elif which == 3:
        size = np.ceil(whole / max(1.0, np.ceil(whole / size) - 1))
    elif which == 4:
        size *= 2
    else:
        size = np.ceil(size / 2)
    return min(max(size, 1.0), whole)


@_compiled
def _smaller(size, whole):
    """A smaller size: one trip more, half, or one less."""
    which = np.random.randint(3)
    if which == 0:
        return np.ceil(whole / (np.ceil(whole / size) + 1))
    return np.floor(size / 2) if which == 1 and size > 1 else max(1.0, size - 1)


# ---------------------------------------------------------------------------------------------------------------------
# What fits.


@_compiled
def _spread(layer, design, option, state):
    """Spatial factors of the loops from those of the slots, each cut to what is left of its axis and of its loop."""
    for axis in range(2):
        left = design[k.ROWS + axis]
        for slot in range(4 * axis, 4 * axis + 4):
            state[k.N_MAP + slot] = min(state[k.N_MAP + slot], left) if option[k.OPT_ROWS + slot] >= 0 else 1.0
            left = np.floor(left / state[k.N_MAP + slot])
    for d in range(8):
        state[k.MAP_S + d] = 1.0
    state[k.MAP_LANES] = min(state[k.MAP_LANES], design[k.LANES], _extent(layer, option, k.C))
    state[k.MAP_S + k.C] = state[k.MAP_LANES]
    for slot in range(8):
        d = int(option[k.OPT_ROWS + slot])
        if d >= 0:
            most = np.ceil(_extent(layer, option, d) / state[k.MAP_S + d])
            state[k.N_MAP + slot] = min(state[k.N_MAP + slot], most)
            state[k.MAP_S + d] *= state[k.N_MAP + slot]


@_compiled
def _cut_registers(layer, option, state):
    """Cut register tiles to the buffer tile."""
    for d in range(8):
        state[k.MAP_R + d] = min(state[k.MAP_R + d], _steps(layer, option, state, d))


@_compiled
def _repair_registers(layer, design, option, state, kept):
    """Shrink register tiles (loop `kept` last), then lanes, until the registers hold them; False if they cannot."""
    for attempt in range(400):
        if k.register_overflow(layer, design, option, state) <= 0:
            return True
        start, found = np.random.randint(8), False
        for i in range(8):
            d = (start + i) % 8
            if state[k.MAP_R + d] > 1 and (d != kept or attempt > 60):
                state[k.MAP_R + d] = _smaller(state[k.MAP_R + d], _steps(layer, option, state, d))
                found = True
                break
        if not found and kept >= 0 and state[k.MAP_R + kept] > 1:
            state[k.MAP_R + kept] = _smaller(state[k.MAP_R + kept], _steps(layer, option, state, kept))
        elif not found:
            if state[k.MAP_LANES] == 1:
                return False
            state[k.MAP_LANES] = np.floor(state[k.MAP_LANES] / 2)
            _spread(layer, design, option, state)
            _cut_registers(layer, option, state)
    return False


@_compiled
def _fits(layer, design, option, state, variant, out):
    """Whether a mapping fits; its cost is in `out`."""
    k.evaluate_mapping(layer, design, option, state, variant, out)
    return out[k.OVERFLOW] == 0


@_compiled
def _repair(layer, design, option, state, kept, variant, out):
    """Shrink tiles until all fits (loop `kept` last); False if that fails.  The cost is in `out`."""
    flat = option[k.OPT_FLATTEN] > 0
    _cut_registers(layer, option, state)
    if not _repair_registers(layer, design, option, state, kept):
        return False
    for attempt in range(400):
        if _fits(layer, design, option, state, variant, out):
            return True
        start, found = np.random.randint(8), False
        for i in range(8):
            d = (start + i) % 8
            if flat and (d == k.FY or d == k.FX):
                continue
            if state[k.MAP_T + d] > 1 and (d != kept or attempt > 60):
                state[k.MAP_T + d] = _smaller(state[k.MAP_T + d], layer[d])
                found = True
                break
        if not found:
            if kept < 0 or state[k.MAP_T + kept] == 1:
                return False
            state[k.MAP_T + kept] = _smaller(state[k.MAP_T + kept], layer[kept])
        _cut_registers(layer, option, state)
    return False


@_compiled
def _grow_register(layer, design, option, state, d):
    """Give loop `d` the largest register tile that fits, or the smallest of as many trips."""
    steps = _steps(layer, option, state, d)
    low, high = state[k.MAP_R + d], steps + 1
    state[k.MAP_R + d] = steps
    if k.register_overflow(layer, design, option, state) <= 0:
        return
    while high - low > 1:
        middle = np.floor((low + high) / 2)
        state[k.MAP_R + d] = middle
        if k.register_overflow(layer, design, option, state) <= 0:
            low = middle
        else:
            high = middle
    state[k.MAP_R + d] = low
    if np.random.random() < 0.5:
        state[k.MAP_R + d] = np.ceil(steps / np.ceil(steps / low))


@_compiled
def _grow_tile(layer, design, option, state, d, variant, out):
    """Give loop `d` the largest buffer tile that fits, or the smallest of as many trips, or the last whole step."""
    low, high = state[k.MAP_T + d], layer[d] + 1
    state[k.MAP_T + d] = layer[d]
    if _fits(layer, design, option, state, variant, out):
        return
    while high - low > 1:
        middle = np.floor((low + high) / 2)
        state[k.MAP_T + d] = middle
        if _fits(layer, design, option, state, variant, out):
            low = middle
        else:
            high = middle
    state[k.MAP_T + d] = low
    which, piece = np.random.random(), state[k.MAP_S + d] * state[k.MAP_R + d]
    if which < 0.35:
        state[k.MAP_T + d] = np.ceil(layer[d] / np.ceil(layer[d] / low))
    elif which < 0.6 and low > piece:
        state[k.MAP_T + d] = np.floor(low / piece) * piece


# ---------------------------------------------------------------------------------------------------------------------
# Moves.  Each changes a state and returns the loop that a repair spares, or -1.


@_compiled
def _random_loop(layer):
    """A loop of more than one trip (or any, if there is none)."""
    d = np.random.randint(8)
    for _ in range(40):
        if layer[d] > 1:
            break
        d = np.random.randint(8)
    return d


@_compiled
def _move_tile(layer, option, state):
    """Another buffer tile of one loop."""
    d = _random_loop(layer)
    if option[k.OPT_FLATTEN] > 0 and (d == k.FY or d == k.FX):
        d = int(k.C)
    size, which = state[k.MAP_T + d], np.random.randint(6)
    step = state[k.MAP_S + d] * (state[k.MAP_R + d] if np.random.random() < 0.5 else 1.0)
    if which == 0:
        size = _critical(layer[d])
    elif which == 1:
        size = step * _log_uniform(1.0, max(1.0, np.ceil(layer[d] / step)))
        if option[k.OPT_FLATTEN] > 0 and d == k.C:
            size = np.floor(size / (layer[k.FY] * layer[k.FX]))
    elif which == 2:
        size = np.floor(size / step + (1 if np.random.random() < 0.5 else -1)) * step
    elif which == 3:
        size = layer[d]
    else:
        size = _near(size, layer[d])
    state[k.MAP_T + d] = min(max(size, 1.0), layer[d])
    return d


@_compiled
def _move_register(layer, option, state):
    """Another register tile of one loop."""
    d = _random_loop(layer)
    if option[k.OPT_FLATTEN] > 0 and (d == k.FY or d == k.FX):
        d = int(k.C)
    steps, which = _steps(layer, option, state, d), np.random.randint(5)
    size = state[k.MAP_R + d]
    if which == 0:
        size = _critical(steps)
    elif which == 1:
        size = steps if np.random.random() < 0.6 else 1.0
    elif which == 2:
        size = _log_uniform(1.0, steps)
    else:
        size = _near(size, steps)
    state[k.MAP_R + d] = min(max(size, 1.0), steps)
    return d


@_compiled
def _move_factor(layer, design, option, state):
    """Another spatial factor of one slot; often another slot of the axis takes what that leaves."""
    slot = np.random.randint(8)
    for _ in range(40):
        if option[k.OPT_ROWS + slot] >= 0:
            break
        slot = np.random.randint(8)
    d, axis = int(option[k.OPT_ROWS + slot]), slot // 4
    if d < 0:
        return -1
    size, old = design[k.ROWS + axis], state[k.MAP_S + d]
    whole = min(size, np.ceil(_extent(layer, option, d) / (old / state[k.N_MAP + slot])))
    which = np.random.randint(4)
    if which == 0:
        new = whole
    elif which == 1:
        new = min(whole, _critical(np.ceil(_extent(layer, option, d) / (old / state[k.N_MAP + slot]))))
    elif which == 2:
        new = _near(state[k.N_MAP + slot], whole)
    else:
        new = _log_uniform(1.0, whole)
    state[k.N_MAP + slot] = new
    _give_rest(option, state, design[k.ROWS + axis], slot)
    _spread(layer, design, option, state)
    if np.random.random() < 0.6:  # the piece stays as it was, in elements
        state[k.MAP_R + d] = max(1.0, np.round(state[k.MAP_R + d] * old / state[k.MAP_S + d]))
    if np.random.random() < 0.3:
        state[k.MAP_T + d] = min(layer[d], max(1.0, np.round(state[k.MAP_T + d] / state[k.MAP_S + d]))
                                 * state[k.MAP_S + d])  # fmt: skip
    return d


@_compiled
def _give_rest(option, state, size, slot):
    """Cut the other slots of an axis of `size` so that all fit; often one of them takes all that is left."""
    first = slot - slot % 4
    greedy = np.random.random() < 0.7
    start = np.random.randint(4)
    for i in range(4):
        other = first + (start + i) % 4
        if other == slot or option[k.OPT_ROWS + other] < 0:
            continue
        taken = 1.0
        for each in range(first, first + 4):
            if each != other:
                taken *= state[k.N_MAP + each]
        left = max(1.0, np.floor(size / taken))
        state[k.N_MAP + other] = left if greedy else min(left, state[k.N_MAP + other])


@_compiled
def _move_lanes(layer, design, option, state):
    """Another number of lanes."""
    whole = min(design[k.LANES], _extent(layer, option, k.C))
    old, which = state[k.MAP_LANES], np.random.randint(4)
    if which == 0:
        new = whole
    elif which == 1:
        new = min(whole, _critical(_extent(layer, option, k.C)))
    elif which == 2:
        new = _near(old, whole)
    else:
        new = _log_uniform(1.0, whole)
    state[k.MAP_LANES] = new
    if np.random.random() < 0.5:
        state[k.MAP_R + k.C] = max(1.0, np.floor(state[k.MAP_R + k.C] * old / new))
    _spread(layer, design, option, state)


@_compiled
def _random_choices(design, option, state):
    """A random stationary operand that the wires allow, a DRAM order, a set of bypasses."""
    a = np.random.randint(3)
    while option[k.OPT_W + a] == 0:
        a = np.random.randint(3)
    state[k.MAP_STATIONARY] = a
    state[k.MAP_DRAM_ORDER] = np.random.randint(3)
    state[k.MAP_BYPASS] = np.random.randint(8) & int(design[k.BYPASS])


@_compiled
def _move_choice(design, option, state):
    """Another order, stationary operand or set of bypasses."""
    which = np.random.randint(3)
    order, stationary, bypass = state[k.MAP_DRAM_ORDER], state[k.MAP_STATIONARY], state[k.MAP_BYPASS]
    _random_choices(design, option, state)
    if which != 0:
        state[k.MAP_DRAM_ORDER] = order
    if which != 1:
        state[k.MAP_STATIONARY] = stationary
    if which != 2:
        state[k.MAP_BYPASS] = bypass


@_compiled
def _random_state(layer, design, options, state):
    """A random option with random factors, lanes and tiles; it need not fit."""
    first = int(design[k.OPTION_FIRST])
    chosen = np.random.randint(int(design[k.OPTION_COUNT]))
    option = options[first + chosen]
    for i in range(N_STATE):
        state[i] = 0.0
    state[k.MAP_OPTION] = chosen
    state[k.MAP_LANES] = design[k.LANES] if np.random.random() < 0.7 else _log_uniform(1.0, design[k.LANES])
    start = np.random.randint(4)
    for axis in range(2):
        left = design[k.ROWS + axis]
        for i in range(4):
            slot = 4 * axis + (start + i) % 4
            d = int(option[k.OPT_ROWS + slot])
            state[k.N_MAP + slot] = 1.0
            if d >= 0:
                most = min(left, _extent(layer, option, d))
                state[k.N_MAP + slot] = most if np.random.random() < 0.6 else _log_uniform(1.0, most)
                left = np.floor(left / state[k.N_MAP + slot])
    _spread(layer, design, option, state)
    for d in range(8):
        state[k.MAP_T + d] = layer[d]
        if np.random.random() < 0.5 and not (option[k.OPT_FLATTEN] > 0 and (d == k.FY or d == k.FX)):
            state[k.MAP_T + d] = _log_uniform(1.0, layer[d])
        state[k.MAP_R + d] = _log_uniform(1.0, _steps(layer, option, state, d))
    _random_choices(design, option, state)


@_compiled
def _change(layer, design, options, state, variant, out):
    """A random change of a state, made to fit; False if that fails.  The cost is in `out`."""
    first, which, kept = int(design[k.OPTION_FIRST]), np.random.random(), -1
    if which < 0.004 and design[k.OPTION_COUNT] > 1:
        _random_state(layer, design, options, state)
    option = options[first + int(state[k.MAP_OPTION])]
    if which < 0.38:
        kept = _move_tile(layer, option, state)
        if np.random.random() < 0.3:
            _move_tile(layer, option, state)
    elif which < 0.62:
        kept = _move_register(layer, option, state)
        if np.random.random() < 0.3:
            _move_register(layer, option, state)
    elif which < 0.80:
        kept = _move_factor(layer, design, option, state)
        if np.random.random() < 0.3:
            _move_factor(layer, design, option, state)
    elif which < 0.86:
        _move_lanes(layer, design, option, state)
    elif which < 0.94:
        _move_choice(design, option, state)
    elif which < 0.97:
        kept = _move_tile(layer, option, state)
        kept = _move_register(layer, option, state)
    else:
        kept = _move_factor(layer, design, option, state)
        _move_tile(layer, option, state)
        _move_choice(design, option, state)
    if not _repair(layer, design, option, state, kept, variant, out):
        return False
    if np.random.random() < 0.35:
        for _ in range(np.random.randint(1, 4)):
            if np.random.random() < 0.5:
                _grow_register(layer, design, option, state, _random_loop(layer))
            else:
                d = _random_loop(layer)
                if not (option[k.OPT_FLATTEN] > 0 and (d == k.FY or d == k.FX)):
                    _grow_tile(layer, design, option, state, d, variant, out)
    _cut_registers(layer, option, state)
    return _fits(layer, design, option, state, variant, out)


@_compiled
def _value(objective, out):
    """Logarithm of what is minimised."""
    if objective == 0:
        return np.log(out[k.CYCLES])
    if objective == 1:
        return np.log(out[k.ENERGY_PJ])
    return np.log(out[k.CYCLES]) + np.log(out[k.ENERGY_PJ])


@_compiled
def _anneal(layer, design, options, variant, objective, starts, restarts, steps, seed, best):
    """Anneal `restarts` times into `best`; returns the logarithm of its cost, infinite where nothing fits."""
    np.random.seed(seed)
    state, trial, out, least = np.zeros(N_STATE), np.zeros(N_STATE), np.zeros(k.N_RESULT), np.inf
    first = int(design[k.OPTION_FIRST])
    for restart in range(restarts):
        now = np.inf
        again = starts.shape[0] > 0 and restart % 2 == 0
        if again:
            state[:] = starts[restart // 2 % starts.shape[0]]
        for _ in range(300):
            if not again:
                _random_state(layer, design, options, state)
            if _repair(layer, design, options[first + int(state[k.MAP_OPTION])], state, -1, variant, out):
                now = _value(objective, out)
                break
        if now == np.inf:
            continue
        # Later restarts begin colder, at the best so far: half of those that begin at what was handed in.
        hottest = HOTTEST
        if restart % 4 == 2 and least < np.inf:
            state[:], now, hottest = best, least, 0.02
        if now < least:
            least, best[:] = now, state
        temperature, cooling = hottest, (COLDEST / hottest) ** (1.0 / steps)
        for _ in range(steps):
            temperature *= cooling
            trial[:] = state
            if not _change(layer, design, options, trial, variant, out):
                continue
            value = _value(objective, out)
            if value <= now or np.random.random() < np.exp((now - value) / temperature):
                state[:], now = trial, value
                if now < least:
                    least, best[:] = now, state
    return least


# ---------------------------------------------------------------------------------------------------------------------
# From Python.


def state_of(mapping: dse.Mapping, design: dse.Accelerator) -> np.ndarray:
    """The state of a mapping, (N_STATE,): its kernel row and the spatial factor of each slot."""
    option, axes = mapping.spatial_option(design), mapping.on_axes(design)
    slots = np.ones(8)
    for axis, loops in enumerate((option.rows, option.cols)):
        slots[4 * axis : 4 * axis + len(loops)] = [axes[axis][d] for d in loops]
    return np.concatenate([mapping.to_row(), slots])


def judge(
    design: dse.Accelerator,
    layer: dse.MacLayer,
    objective: str = "latency",
    starts: Iterable[dse.Mapping] = (),
    seed: int = 0,
    restarts: int = RESTARTS,
    steps: int = STEPS,
) -> Judged | None:
    """The best mapping that annealing finds, confirmed by `dse.evaluate`; None if it finds none that fits."""
    rows, options = design_rows(parameter_columns(design), dse.Technology.at(45))
    given = np.array([state_of(start, design) for start in starts]).reshape(-1, N_STATE)
    best, of = np.zeros(N_STATE), OBJECTIVES.index(objective)
    variant = _variant_alone(design, layer)
    least = _anneal(layer_row(layer), rows[0], options, variant, of, given, restarts, steps, seed, best)
    if not np.isfinite(least):
        return None
    mapping, out = dse.Mapping.from_row(best[: k.N_MAP]), np.zeros(k.N_RESULT)
    option = options[int(rows[0, k.OPTION_FIRST]) + mapping.option]
    k.evaluate_mapping(layer_row(layer), rows[0], option, best[: k.N_MAP], variant, out)
    confirmed = dse.evaluate(design, layer, mapping=mapping)
    assert confirmed.overflow == 0 and confirmed.cycles == out[k.CYCLES] * layer.repeats, (design, layer, mapping)
    assert mapping.lanes <= design.macs_per_pe, mapping
    return Judged(float(out[k.CYCLES]), float(out[k.ENERGY_PJ]), mapping)


def _variant_alone(design: dse.Accelerator, layer: dse.MacLayer) -> int:
    """Residency bits of a layer that is a network of its own: weights stay on chip where design and size allow it."""
    if design.resident_weights and layer.static_weights:
        raise ValueError("the judge is for designs whose weights come from DRAM")
    return 0


def has_mapping(design: dse.Accelerator, layer: dse.MacLayer) -> bool:
    """Whether any mapping fits: single elements, or an operand whole in its buffer, which is held once.

    Everything else takes as much room at least: what an operand's tile occupies grows with every loop, but where it
    becomes the whole operand.
    """
    rows, options = design_rows(parameter_columns(design), dse.Technology.at(45))
    numbers, out, first = layer_row(layer), np.zeros(k.N_RESULT), int(rows[0, k.OPTION_FIRST])
    for chosen, option in enumerate(design.dataflow.options):
        for whole, stationary, bypass in product(range(8), option.stationary, range(8)):
            held = {d for i, loops in enumerate((W_LOOPS, I_LOOPS, O_LOOPS)) if whole >> i & 1 for d in loops}
            held |= {"FY", "FX"} if option.flatten_reduction else set()
            if bypass & ~int(rows[0, k.BYPASS]):
                continue
            tile = {d: getattr(layer, d) for d in held}
            row = dse.Mapping({}, {}, tile, stationary=stationary, option=chosen).to_row()
            row[k.MAP_BYPASS] = bypass
            k.evaluate_mapping(numbers, rows[0], options[first + chosen], row, 0, out)
            if out[k.OVERFLOW] == 0:
                return True
    return False


def value_of(objective: str, cycles: float, energy_pj: float) -> float:
    """What an objective minimises."""
    return {"latency": cycles, "energy": energy_pj, "edp": cycles * energy_pj}[objective]


def gain(
    design: dse.Accelerator,
    layer: dse.MacLayer,
    effort: str = "default",
    objective: str = "latency",
    seed: int = 0,
    restarts: int = RESTARTS,
    steps: int = STEPS,
) -> float:
    """What the judge finds better than the mapper, as a share of the mapper's cost [1]; 1 if the mapper fits nothing.

    0 where it finds nothing better, and where neither finds a mapping that fits.
    """
    own = best_mapping(design, layer, effort, objective)
    judged = judge(design, layer, objective, [own.mapping] if own.mapping else [], seed, restarts, steps)
    if own.mapping is None:
        return 0.0 if judged is None else 1.0
    assert judged is not None, (design, layer)
    cost = value_of(objective, judged.cycles, judged.energy_pj) / value_of(objective, own.cycles, own.energy_pj)
    return max(0.0, 1 - cost)


def random_pairs(
    columns: dict[str, np.ndarray], networks: Iterable[str], pairs: int, rng: np.random.Generator
) -> Iterator[tuple[dse.Accelerator, str, dse.MacLayer]]:
    """Random pairs of a design of the columns and a layer shape of the networks: each network as likely."""
    shapes = {}
    for name in networks:
        network = dse.load_network(name)
        shapes[name] = list({layer.shape_key: layer for layer in network.mac_layers}.values())
    for _ in range(pairs):
        row = int(rng.integers(len(columns["rows"])))
        design = dse.Accelerator(**{name: column[row] for name, column in columns.items()})
        name = str(rng.choice(list(shapes)))
        yield design, name, shapes[name][int(rng.integers(len(shapes[name])))]


def main(pairs: str = "20", seed: str = "0", objective: str = "latency", effort: str = "default") -> None:
    """Judge random pairs of the default space and the shipped networks, and print what is found."""
    rng, space = np.random.default_rng(int(seed)), dse.default_space()
    columns, gains, start = space.columns(space.sample(int(pairs), rng)), [], time.perf_counter()
    for design, name, layer in random_pairs(columns, dse.networks.network_names(), int(pairs), rng):
        gains.append(gain(design, layer, effort, objective))
        if gains[-1] > 0.001:
            print(f"  {gains[-1]:7.2%} {name} {layer.name} on {design.rows} x {design.cols} x {design.macs_per_pe} "
                  f"{design.dataflow}", flush=True)  # fmt: skip
    found = np.array(gains)
    print(f"{pairs} pairs, seed {seed}, {objective}, {effort}: a better mapping by > 0.1 % for "
          f"{(found > 0.001).mean():.1%}, by > 1 % for {(found > 0.01).mean():.1%}; mean gain {found.mean():.2%}, "
          f"worst {found.max():.2%}; {(time.perf_counter() - start) / int(pairs):.2f} s a pair")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
