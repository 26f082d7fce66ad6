"""Which whole tensors stay in a store: an exact choice by dynamic programming over the steps of a network.

The state before a step is the set of written tensors that stay and are read in this step or later.  A step adds its
output to the set or not, costs what its case costs (`dse.costs.residency.keeper`), and drops what it was the last to
read.  Of two ways to one set the cheaper is kept, so the best of all sets is found without listing them.  A state says
what occupies the store; that rows of a tensor may stay instead of the whole is one more choice where it is written.

This module knows no cost model: costs come as tables.  It is compiled, and calls nothing that another file compiles.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

MOST_STATES = 4096
"""States before a step that `choose` can follow; where more arise, half of them go on, and the choice is not exact."""

EQUAL = 1e-12
"""Relative difference of sums that is rounding [1]."""

SLACK = 1000.0
"""As many such differences may add up along the steps [1]."""

BITS = 62
"""Tensors alive at once that have a place in a state; those beyond it leave the chip."""

_HASH = 8 * MOST_STATES


class Lifetimes(NamedTuple):
    """Who writes and reads what, of one network; steps are numbered from 0.

    writes : (n_steps,) tensor that a step writes, -1 = none that could stay.
    operands : (n_steps, 3) tensors whose presence tells the case of a MAC step, -1 = none that could stay.
    bits : (3,) bit of the case for each of them; `output_bit` is that of the output.
    cases : (n_steps,) number of the MAC layer; -1 = a vector step.
    base : (n_steps,) bits of the case that are set whatever stays.
    reads_first, reads : tensors that could stay and that a step reads, ``reads[reads_first[i] : reads_first[i + 1]]``.
    ends_first, ends : tensors of which a step is the last reader, in the same way.
    masks : (n_steps, 5) bits in a state of the three operands, of the output, and of all that ends; 0 = none.
    in_place : (n_steps,) whether the output of a step takes the place of what ends there (a concatenation).
    places : (n_tensors,) bit of a tensor in a state, -1 = it never stays.
    sizes : (n_tensors,) elements.
    repeats : (n_steps,) how often a step runs.
    """

    writes: np.ndarray
    operands: np.ndarray
    bits: np.ndarray
    output_bit: int
    cases: np.ndarray
    base: np.ndarray
    reads_first: np.ndarray
    reads: np.ndarray
    ends_first: np.ndarray
    ends: np.ndarray
    masks: np.ndarray
    in_place: np.ndarray
    places: np.ndarray
    sizes: np.ndarray
    repeats: np.ndarray


class Store(NamedTuple):
    """The store of one design.

    store : bytes that may stay.
    word : bytes of an element.
    rooms : (n_rooms,) bytes that tiles may use, falling: the first is the whole buffer.
    idle : energy of every cycle [pJ].
    mode : what is minimised: 0 cycles then bytes, 1 energy then cycles, 2 their product then cycles.
    """

    store: float
    word: float
    rooms: np.ndarray
    idle: float
    mode: int


class States(NamedTuple):
    """Arrays that `choose` writes over; one set for each thread.

    Before and after a step, (2, ...): masks, both costs and bytes held of each state.  (n_steps, ...): from which state
    each came, and whether the output stays.  to_go : what is left at least.  saves : what each of `Lifetimes.reads`
    saves alone; promise : the sum for the output of each step; writer : of each tensor; (BITS,) credit : what the
    tensor at each bit of a state still saves.  table, stamp : states by mask; an entry is old without the stamp of the
    step.
    """

    masks: np.ndarray
    first: np.ndarray
    second: np.ndarray
    held: np.ndarray
    credit: np.ndarray
    parents: np.ndarray
    keeps: np.ndarray
    to_go: np.ndarray
    saves: np.ndarray
    promise: np.ndarray
    writer: np.ndarray
    table: np.ndarray
    stamp: np.ndarray


def make_states(n_steps: int, n_reads: int, n_tensors: int, width: int = MOST_STATES) -> States:
    """Scratch for networks of at most so many steps, reads and tensors, and for `choose` with at most this `width`."""
    two = (2, 2 * width)
    return States(
        np.zeros(two, np.int64),
        np.zeros(two),
        np.zeros(two),
        np.zeros(two),
        np.zeros(BITS),
        np.empty((n_steps, 2 * width), np.int32),
        np.empty((n_steps, 2 * width), np.bool_),
        np.zeros((n_steps + 1, 2)),
        np.zeros(n_reads),
        np.zeros(n_steps),
        np.zeros(n_tensors, np.int64),
        np.zeros(_HASH, np.int64),
        np.zeros(1, np.int64),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def room_of(rooms, held):
    """Number of the largest room that is left where so many bytes stay; `len(rooms)` where none is."""
    for room in range(len(rooms)):
        if held <= rooms[0] - rooms[room]:
            return room
    return len(rooms)


@njit(cache=True, nogil=True, error_model="numpy")
def _case(lifetimes, step, mask, keep):
    """Bits of the case of a MAC step."""
    case = lifetimes.base[step]
    for i in range(3):
        if mask & lifetimes.masks[step, i]:
            case |= lifetimes.bits[i]
    return case | lifetimes.output_bit if keep else case


@njit(cache=True, nogil=True, error_model="numpy")
def _found(lifetimes, step, mask):
    """Elements of its inputs that a vector step finds."""
    kept = 0.0
    for j in range(lifetimes.reads_first[step], lifetimes.reads_first[step + 1]):
        if mask >> lifetimes.places[lifetimes.reads[j]] & 1:
            kept += lifetimes.sizes[lifetimes.reads[j]]
    return kept


@njit(cache=True, nogil=True, error_model="numpy")
def _vector(store, line, kept):
    """Cost of a vector step: the longest of its operations, port and DRAM time, from straight lines."""
    kept = min(kept, line[0])
    cycles = max(line[9], line[1] + kept * line[5], line[2] + kept * line[6])
    pj = line[3] + kept * line[7] + cycles * store.idle
    if store.mode == 0:
        return cycles, line[4] + kept * line[8]
    return (pj, cycles) if store.mode == 1 else (pj * cycles, cycles)


@njit(cache=True, nogil=True, error_model="numpy")
def choose(lifetimes, store, first, second, lines, states, width, limit, limit_of_second, kept, cases, rooms, fill):
    """Choose what stays; returns the sums of both costs, and whether no other set is better.

    `first`, `second` (n_layers, n_cases, n_rooms): costs of the cases of MAC layers; `lines`: of vector steps.  At most
    `width` states are followed, and none that ends above `limit`, or there and above `limit_of_second`.  Fills `kept`
    (n_tensors,), `cases` and `rooms` (n_steps,) of the MAC steps, and `fill` (n_steps,) [bytes].  Equal costs: the
    second decides, then the order of the steps.  Where nothing keeps to the limits, the sums are infinite.
    """
    _least_to_go(lifetimes, store, first, second, lines, states.to_go)
    _promises(lifetimes, store, first, second, lines, states)
    exact, now, count = True, 0, 1
    states.masks[0, 0], states.first[0, 0], states.second[0, 0] = 0, 0.0, 0.0
    states.held[0, 0] = 0.0
    for step in range(len(lifetimes.writes)):
        then = 1 - now
        count = _take_step(lifetimes, store, first, second, lines, states, step, now, count, limit, limit_of_second)
        for j in range(lifetimes.reads_first[step], lifetimes.reads_first[step + 1]):
            states.credit[lifetimes.places[lifetimes.reads[j]]] -= states.saves[j]
        if lifetimes.writes[step] >= 0:
            states.credit[lifetimes.places[lifetimes.writes[step]]] = states.promise[step]
        if count > width:
            exact = False
            count = _thin(states, step, then, count, width // 2)
        now = then
    if count == 0:
        return np.inf, np.inf, exact
    best, more = states.first[now, 0], states.second[now, 0]
    for tensor in range(len(kept)):
        kept[tensor] = False
    at = 0
    for step in range(len(lifetimes.writes) - 1, -1, -1):
        if states.keeps[step, at]:
            kept[lifetimes.writes[step]] = True
        at = states.parents[step, at]
    follow(lifetimes, store, kept, cases, rooms, fill)
    return best, more, exact


@njit(cache=True, nogil=True, error_model="numpy")
def _least_to_go(lifetimes, store, first, second, lines, to_go):
    """Fill `to_go` (n_steps + 1, 2): what the steps from each on cost at least, whatever stays."""
    n = len(lifetimes.writes)
    to_go[n, 0], to_go[n, 1] = 0.0, 0.0
    for step in range(n - 1, -1, -1):
        layer, least, fewest = lifetimes.cases[step], np.inf, np.inf
        if layer < 0:
            cycles, pj = lines[step, 0, 9], np.inf
            port, link = np.inf, np.inf
            for keep in range(2):
                line = lines[step, keep]
                port = min(port, min(line[1], line[1] + line[0] * line[5]))
                link = min(link, min(line[2], line[2] + line[0] * line[6]))
                pj = min(pj, min(line[3], line[3] + line[0] * line[7]))
                fewest = min(fewest, min(line[4], line[4] + line[0] * line[8]))
            cycles = max(cycles, max(port, link))
            pj += cycles * store.idle
            least = cycles if store.mode == 0 else (pj if store.mode == 1 else pj * cycles)
            fewest = fewest if store.mode == 0 else cycles
        else:
            for chosen in range(16):
                case, held = lifetimes.base[step], 0.0
                for i in range(4):
                    if not chosen >> i & 1:
                        continue
                    tensor = lifetimes.operands[step, i] if i < 3 else lifetimes.writes[step]
                    if tensor < 0:
                        held = np.inf
                        break
                    case |= lifetimes.bits[i] if i < 3 else lifetimes.output_bit
                    held = max(held, lifetimes.sizes[tensor] * store.word)
                room = room_of(store.rooms, held)
                if held <= store.store and room < len(store.rooms) and first[layer, case, room] > 0:
                    least = min(least, first[layer, case, room])
                    fewest = min(fewest, second[layer, case, room])
        to_go[step, 0] = to_go[step + 1, 0] + lifetimes.repeats[step] * least
        to_go[step, 1] = to_go[step + 1, 1] + lifetimes.repeats[step] * fewest


@njit(cache=True, nogil=True, error_model="numpy")
def _take_step(lifetimes, store, first, second, lines, states, step, now, count, best, more_of_best):
    """The states after a step from those before it; returns how many, at most twice as many."""
    then, found = 1 - now, 0
    layer, writes, repeats = lifetimes.cases[step], lifetimes.writes[step], lifetimes.repeats[step]
    equal = EQUAL * (best if best < np.inf else states.to_go[0, 0])
    states.stamp[0] += 1
    stamp = states.stamp[0] * _HASH
    written, ending, in_place = lifetimes.masks[step, 3], lifetimes.masks[step, 4], lifetimes.in_place[step]
    size = lifetimes.sizes[writes] * store.word if written else 0.0
    to_go, more_to_go = states.to_go[step + 1, 0], states.to_go[step + 1, 1]
    for j in range(count):
        mask = states.masks[now, j]
        freed, arrives = 0.0, 0.0
        if mask & ending:
            for e in range(lifetimes.ends_first[step], lifetimes.ends_first[step + 1]):
                if mask >> lifetimes.places[lifetimes.ends[e]] & 1:
                    freed += lifetimes.sizes[lifetimes.ends[e]] * store.word
        if layer < 0:
            arrives = _found(lifetimes, step, mask)
        for keep in range(2 if written else 1):
            held = states.held[now, j] + keep * size
            if keep and in_place:
                held -= freed
            if held > store.store:
                continue
            if layer >= 0:
                room = room_of(store.rooms, held)
                if room == len(store.rooms):
                    continue
                case = _case(lifetimes, step, mask, keep)
                cost, more = first[layer, case, room], second[layer, case, room]
            else:
                cost, more = _vector(store, lines[step, keep], arrives)
            cost = states.first[now, j] + repeats * cost
            more = states.second[now, j] + repeats * more
            if cost + to_go > best + SLACK * equal or (
                cost + to_go >= best - equal and more + more_to_go > more_of_best * (1 + EQUAL)
            ):
                continue
            after = mask & ~ending
            if keep:
                after |= written
            spot = (after ^ (after >> 17) * 7919) % _HASH
            at = states.table[spot] - stamp
            while at >= 0 and states.masks[then, at] != after:
                spot = (spot + 1) % _HASH
                at = states.table[spot] - stamp
            if at < 0:
                at = found
                states.table[spot] = stamp + at
                found += 1
                states.masks[then, at] = after
                states.held[then, at] = held if keep and in_place else held - freed
            elif cost > states.first[then, at] + equal or (
                cost >= states.first[then, at] - equal and more >= states.second[then, at]
            ):
                continue
            states.first[then, at], states.second[then, at] = cost, more
            states.parents[step, at], states.keeps[step, at] = j, keep > 0
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _promises(lifetimes, store, first, second, lines, states):
    """Fill what each read of a tensor saves alone, and what all reads of a step's output do."""
    writer = states.writer
    for step in range(len(lifetimes.writes)):
        if lifetimes.writes[step] >= 0:
            writer[lifetimes.writes[step]] = step
        states.promise[step] = 0.0
    for step in range(len(lifetimes.writes)):
        layer = lifetimes.cases[step]
        for j in range(lifetimes.reads_first[step], lifetimes.reads_first[step + 1]):
            tensor = lifetimes.reads[j]
            mask = np.int64(1) << lifetimes.places[tensor]
            if layer < 0:
                line, kept = lines[step, 0], lifetimes.sizes[tensor]
                saved = _vector(store, line, 0.0)[0] - _vector(store, line, kept)[0]
            else:
                none, base = _case(lifetimes, step, mask, False), lifetimes.base[step]
                saved = first[layer, base, 0] - first[layer, none, 0]
            saved *= lifetimes.repeats[step]
            states.saves[j] = saved
            states.promise[writer[tensor]] += saved


@njit(cache=True, nogil=True, error_model="numpy")
def _thin(states, step, then, count, width):
    """Leave the `width` states that are cheapest with what their tensors still save; returns how many."""
    keys = states.first[then, :count].copy()
    alive = np.int64(0)
    for j in range(count):
        alive |= states.masks[then, j]
    for place in range(BITS):
        if alive >> place & 1:
            for j in range(count):
                if states.masks[then, j] >> place & 1:
                    keys[j] -= states.credit[place]
    most = np.partition(keys, width - 1)[width - 1]
    equal = width
    for j in range(count):
        equal -= keys[j] < most
    left = 0
    for j in range(count):
        if keys[j] > most or (keys[j] == most and equal == 0):
            continue
        equal -= keys[j] == most
        states.masks[then, left], states.held[then, left] = states.masks[then, j], states.held[then, j]
        states.first[then, left], states.second[then, left] = states.first[then, j], states.second[then, j]
        states.parents[step, left], states.keeps[step, left] = states.parents[step, j], states.keeps[step, j]
        left += 1
    return left


@njit(cache=True, nogil=True, error_model="numpy")
def follow(lifetimes, store, kept, cases, rooms, fill):
    """Cases, rooms and fill of the steps where `kept` stays; returns whether it fits the store at every step."""
    mask, held, fits = np.int64(0), 0.0, True
    for step in range(len(lifetimes.writes)):
        writes = lifetimes.writes[step]
        keep = writes >= 0 and kept[writes]
        freed = 0.0
        after = mask
        for j in range(lifetimes.ends_first[step], lifetimes.ends_first[step + 1]):
            place = lifetimes.places[lifetimes.ends[j]]
            if mask >> place & 1:
                freed += lifetimes.sizes[lifetimes.ends[j]] * store.word
                after &= ~(np.int64(1) << place)
        if keep:
            held += lifetimes.sizes[writes] * store.word
            after |= np.int64(1) << lifetimes.places[writes]
        if keep and lifetimes.in_place[step]:
            held, freed = held - freed, 0.0
        fill[step], rooms[step], cases[step] = held, 0, 0
        fits = fits and held <= store.store
        if lifetimes.cases[step] >= 0:
            cases[step] = _case(lifetimes, step, mask, keep)
            rooms[step] = room_of(store.rooms, held)
            fits = fits and rooms[step] < len(store.rooms)
        mask, held = after, held - freed
    return fits


def room_sizes(buffer: float, store: float) -> np.ndarray:
    """Bytes of a buffer that tiles may use beside up to `store` bytes that stay: all of it, then four sizes an octave.

    What stays takes its bytes from the tiles, and no more than its bytes: the room is rounded down to three significant
    bits.  So a larger buffer never leaves less room beside the same tensors, and there are few rooms to map layers for.
    """
    rooms, octave, quarter = [buffer], *divmod(_quarters(buffer), 4)
    least = _quarters(max(buffer - store, buffer / 256)) if store > 0 else math.inf
    at = 4 * octave + quarter
    while at >= least:
        rooms.append(2.0 ** (at // 4) * (1 + at % 4 / 4))
        at -= 1
    return np.array(rooms)


def _quarters(size: float) -> int:
    """Number of the largest of four sizes an octave that is not above `size`."""
    mantissa, exponent = math.frexp(size)
    return 4 * (exponent - 1) + int((2 * mantissa - 1) * 4)
