"""The event loop of schedules, compiled: which layer runs when, on arrays; `dse.simultaneous.schedules` is its face.

Its cost is O(events x (log jobs + sub-arrays)): jobs wait in one heap a sub-array, since their keys do not change while
they wait, and only running layers have rates.  Durations are compared, not absolute times: two events are one where
they lie within `TIE` of the length of the layer that ends, or within the rounding of the time itself.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TIE = 1e-12
"""Of its length: a layer that would end so little after another event ends with it [1]."""

ROUNDING = 4 * 2.0**-53
"""Of a time: what the sum of durations may have lost [1]."""

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def run(
    first, busy, moved, work, sub_array, arrival, deadline, priority, by_arrival, parents, parent, links, bandwidth,
    order, keep, marks,
):  # fmt: skip
    """Run all jobs to their end.

    Parameters
    ----------
    first, busy, moved : layers of the distinct networks: first of each, (n_works + 1,), their times [s] and bytes.
    work, sub_array, arrival, deadline, priority : of every job, (n_jobs,), times [s]; `work` says which network.
    by_arrival : numbers of the jobs by arrival, (n_jobs,).
    parents, parent : first of the jobs that each waits for, (n_jobs + 1,), in the list of them.
    links, bandwidth : of each sub-array, (n_sub_arrays,), and of the chip [bytes/s].
    order : number in `dse.simultaneous.schedules.ORDERS`.
    keep : whether times of layers and the bandwidth over time are wanted.
    marks : times at which the state is wanted, ascending, (n_marks,) [s].

    Returns
    -------
    start, finish : of every layer, jobs one after the other [s]; empty unless kept.
    job_finish, served : of every job, its end and how long its layers ran [s], (n_jobs,).
    events, rates : times between which nothing changes [s], and the bandwidth used between them [bytes/s].
    so_far : (n_marks + 1, n_sub_arrays + 2): until each mark and until the end, time that each sub-array was busy [s],
        bytes moved, and the integral of the number of jobs in the system [s].
    state_first, state_job, state_left, state_turn : jobs in the system just before each mark, (n_marks + 1,) and flat:
        number, work left with all the bandwidth of its link [s], when it was last served (a counter, -1 = never).
    """
    n_jobs, n_arrays, n_marks = len(arrival), len(links), len(marks)
    offset, rest = _sizes(first, busy, work)
    n_layers = offset[n_jobs] if keep else 0
    start, finish = np.zeros(n_layers), np.zeros(n_layers)
    room = n_layers + n_jobs + 2 if keep else 1
    events, rates = np.zeros(room), np.zeros(room)
    job_finish, served = np.full(n_jobs, np.nan), np.zeros(n_jobs)
    turns, following = np.full(n_jobs, -1), np.zeros(n_jobs, dtype=np.int64)  # when last served; next layer, from 0
    here = np.zeros(n_jobs, dtype=np.bool_)  # arrived
    waits = parents[1:] - parents[:-1]
    children, child = _children(parents, parent)
    heap, base, count = (
        np.zeros(n_jobs, dtype=np.int64),
        _bases(sub_array, n_arrays),
        np.zeros(n_arrays, dtype=np.int64),
    )
    current, held = np.full(n_arrays, -1), np.full(n_arrays, -1)  # job that runs; job between two of its layers
    left, length, began = np.zeros(n_arrays), np.zeros(n_arrays), np.zeros(n_arrays)
    need, grant, slow = np.zeros(n_arrays), np.zeros(n_arrays), np.ones(n_arrays)
    so_far, done = np.zeros((n_marks + 1, n_arrays + 2)), np.zeros(n_arrays + 2)
    state_first = np.zeros(n_marks + 1, dtype=np.int64)
    states = (np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int64))
    arrived, jobs_left, inside, n_events, mark, turn = 0, n_jobs, 0, 0, 0, 0
    changed, flow, time = True, 0.0, 0.0
    while jobs_left > 0:
        while arrived < n_jobs and arrival[by_arrival[arrived]] <= time + ROUNDING * time:
            j = by_arrival[arrived]
            time = max(time, arrival[j])
            arrived, inside, here[j] = arrived + 1, inside + 1, True
            if waits[j] == 0:
                _push(heap, base, count, j, sub_array[j], priority, deadline, rest, turns, arrival, order)
        for a in range(n_arrays):
            if current[a] >= 0 or (held[a] < 0 and count[a] == 0):
                continue
            best, held[a] = held[a], -1
            if best < 0:
                best = _pop(heap, base, count, a, priority, deadline, rest, turns, arrival, order)
            elif count[a] > 0 and _sooner(heap[base[a]], best, priority, deadline, rest, turns, arrival, order):
                top, heap[base[a]] = heap[base[a]], best
                _sink(heap, base[a], count[a], priority, deadline, rest, turns, arrival, order)
                best = top
            layer = first[work[best]] + following[best]
            current[a], left[a], length[a], began[a], turns[best] = best, busy[layer], busy[layer], time, turn
            need[a] = moved[layer] / busy[layer] if busy[layer] > 0 else 0.0
            rest[best] -= busy[layer]
            turn, changed = turn + 1, True
            if keep:
                start[offset[best] + following[best]] = time
        if changed:
            flow, changed = _share(need, links, bandwidth, grant), False
            for a in range(n_arrays):
                slow[a] = need[a] / grant[a] if grant[a] < need[a] else 1.0
        step, tie = np.inf, 0.0
        for a in range(n_arrays):
            if current[a] >= 0 and left[a] * slow[a] < step:
                step, tie = left[a] * slow[a], TIE * length[a]
        until = time + step
        if arrived < n_jobs and arrival[by_arrival[arrived]] - time <= step + tie + ROUNDING * time:
            until = arrival[by_arrival[arrived]]
            step = until - time
        while mark < n_marks and marks[mark] <= until:
            part = max(0.0, marks[mark] - time)
            _add(so_far[mark], done, current, flow, inside, part)
            states = _snapshot(states, by_arrival, arrived, inside, job_finish, sub_array, current, left, slow, rest,
                               turns, part)  # fmt: skip
            mark += 1
            state_first[mark] = len(states[0])
        _add(done, done, current, flow, inside, step)
        if keep:
            rates[n_events] = flow
        for a in range(n_arrays):
            if current[a] < 0:
                continue
            if left[a] * slow[a] > step + TIE * length[a] + ROUNDING * until:
                left[a] -= step / slow[a]
                continue
            j = current[a]
            current[a], need[a], changed = -1, 0.0, True
            served[j] += until - began[a]
            if keep:
                finish[offset[j] + following[j]] = until
            following[j] += 1
            if following[j] < offset[j + 1] - offset[j]:
                held[a] = j
                continue
            job_finish[j] = until
            jobs_left, inside = jobs_left - 1, inside - 1
            for c in range(children[j], children[j + 1]):
                waits[child[c]] -= 1
                if waits[child[c]] == 0 and here[child[c]]:
                    _push(heap, base, count, child[c], sub_array[child[c]], priority, deadline, rest, turns, arrival,
                          order)  # fmt: skip
        if keep and (until > time or n_events == 0):
            events[n_events + 1] = until
            n_events += 1
        time = until
    so_far[mark:] = done
    state_first[mark + 1 :] = len(states[0])
    return (start, finish, job_finish, served, events[: n_events + 1], rates[:n_events], so_far, state_first, states[0],
            states[1], states[2])  # fmt: skip


@_compiled
def _sizes(first, busy, work):
    """Offset of the layers of every job, (n_jobs + 1,), and the time of all of them, (n_jobs,) [s]."""
    whole = np.zeros(len(first) - 1)
    for w in range(len(whole)):
        for layer in range(first[w], first[w + 1]):
            whole[w] += busy[layer]
    offset, rest = np.zeros(len(work) + 1, dtype=np.int64), np.zeros(len(work))
    for j in range(len(work)):
        offset[j + 1] = offset[j] + first[work[j] + 1] - first[work[j]]
        rest[j] = whole[work[j]]
    return offset, rest


@_compiled
def _children(parents, parent):
    """Jobs that wait for each job: first of each, (n_jobs + 1,), and the list of them."""
    children = np.zeros(len(parents), dtype=np.int64)
    for p in parent:
        children[p + 1] += 1
    children = np.cumsum(children)
    child, filled = np.zeros(len(parent), dtype=np.int64), children.copy()
    for j in range(len(parents) - 1):
        for p in parent[parents[j] : parents[j + 1]]:
            child[filled[p]] = j
            filled[p] += 1
    return children, child


@_compiled
def _bases(sub_array, n_arrays):
    """Where the heap of every sub-array begins, (n_sub_arrays + 1,)."""
    base = np.zeros(n_arrays + 1, dtype=np.int64)
    for a in sub_array:
        base[a + 1] += 1
    return np.cumsum(base)


@_compiled
def _add(to, done, current, flow, inside, seconds):
    """What was done before and in `seconds` more: busy time of each sub-array, bytes, time of jobs in the system."""
    n_arrays = len(current)
    for a in range(n_arrays):
        to[a] = done[a] + (seconds if current[a] >= 0 else 0.0)
    to[n_arrays] = done[n_arrays] + flow * seconds
    to[n_arrays + 1] = done[n_arrays + 1] + inside * seconds


@_compiled
def _snapshot(states, by_arrival, arrived, inside, job_finish, sub_array, current, left, slow, rest, turns, part):
    """`states` and the jobs in the system `part` seconds from now: number, work left, when last served."""
    job, work_left, turn = np.zeros(inside, np.int64), np.zeros(inside), np.zeros(inside, np.int64)
    found, i = 0, arrived
    while found < inside:
        i -= 1
        j = by_arrival[i]
        if np.isnan(job_finish[j]):
            a = sub_array[j]
            job[found], turn[found], work_left[found] = j, turns[j], rest[j]
            if current[a] == j:
                work_left[found] += left[a] - part / slow[a]
            found += 1
    return (np.concatenate((states[0], job)), np.concatenate((states[1], work_left)),
            np.concatenate((states[2], turn)))  # fmt: skip


@_compiled
def _sooner(j, best, priority, deadline, rest, turns, arrival, order):
    """Whether job `j` goes before `best` on the sub-array of both."""
    if priority[j] != priority[best]:
        return priority[j] > priority[best]
    if order == 0 and deadline[j] != deadline[best]:
        return deadline[j] < deadline[best]
    if order == 0 and rest[j] != rest[best]:
        return rest[j] < rest[best]
    if order == 1 and turns[j] != turns[best]:
        return turns[j] < turns[best]
    if arrival[j] != arrival[best]:
        return arrival[j] < arrival[best]
    return j < best


@_compiled
def _push(heap, base, count, j, a, priority, deadline, rest, turns, arrival, order):
    """Put job `j` into the heap of sub-array `a`."""
    low, i = base[a], count[a]
    count[a] += 1
    while i > 0:
        up = (i - 1) // 2
        if not _sooner(j, heap[low + up], priority, deadline, rest, turns, arrival, order):
            break
        heap[low + i] = heap[low + up]
        i = up
    heap[low + i] = j


@_compiled
def _pop(heap, base, count, a, priority, deadline, rest, turns, arrival, order):
    """Take the job that goes first from the heap of sub-array `a`."""
    low = base[a]
    best = heap[low]
    count[a] -= 1
    heap[low] = heap[low + count[a]]
    _sink(heap, low, count[a], priority, deadline, rest, turns, arrival, order)
    return best


@_compiled
def _sink(heap, low, size, priority, deadline, rest, turns, arrival, order):
    """Move the top of a heap down to its place."""
    if size == 0:
        return
    i, j = 0, heap[low]
    while 2 * i + 1 < size:
        down = 2 * i + 1
        if down + 1 < size and _sooner(
            heap[low + down + 1], heap[low + down], priority, deadline, rest, turns, arrival, order
        ):
            down += 1
        if not _sooner(heap[low + down], j, priority, deadline, rest, turns, arrival, order):
            break
        heap[low + i] = heap[low + down]
        i = down
    heap[low + i] = j


@_compiled
def _share(need, links, bandwidth, grant):
    """Max-min fair shares of `bandwidth` into `grant`; gives their sum.

    Whoever needs no more than an equal share of what is left gets it, until all others need more.
    """
    n, total = len(need), 0.0
    for a in range(n):
        grant[a] = min(need[a], links[a])
        total += grant[a]
    if total <= bandwidth:
        return total
    rest, count, share = bandwidth, 0, 0.0
    for a in range(n):
        count += grant[a] > 0
    while True:
        fair, given, satisfied = rest / count, 0.0, 0
        for a in range(n):
            if share < grant[a] <= fair:
                given += grant[a]
                satisfied += 1
        if satisfied in (0, count):
            break
        rest, count, share = rest - given, count - satisfied, fair
    for a in range(n):
        grant[a] = min(grant[a], fair)
    return bandwidth
