"""The order in which the layers of a network run: it follows from the graph, not from the file.

A file may list the nodes of one graph in many valid orders.  `canonical_ranks` numbers the nodes by what they are and
how they hang together, whatever their names and their order; `least_alive_order` runs branches in the order that keeps
the fewest elements alive, ties by rank.  So equivalent files give the same order of equal nodes.
"""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass

BEAM = 64
"""Sets of executed nodes that `least_alive_order` follows at a time; with fewer the order is the best of all."""

CHOICES = 8
"""Nodes that may run next which it looks at: those that leave least alive."""


@dataclass(frozen=True)
class Graph:
    """Nodes and what they read.

    Parameters
    ----------
    labels : of each node, everything that tells it from others but its name and its place.
    reads : of each node, pairs of the role of an input and its writer; inputs of the graph are numbers from
        ``len(labels)`` on.
    sizes : of each node, elements that it writes; 0 where nothing reads them.
    """

    labels: tuple[str, ...]
    reads: tuple[tuple[tuple[str, int], ...], ...]
    sizes: tuple[int, ...]

    @property
    def readers(self) -> list[list[tuple[str, int]]]:
        """Of each node and input of the graph, pairs of the role and the node that reads it."""
        count = max([len(self.labels), *(source + 1 for read in self.reads for _, source in read)])
        found: list[list[tuple[str, int]]] = [[] for _ in range(count)]
        for node, read in enumerate(self.reads):
            for role, source in read:
                found[source].append((role, node))
        return found


def topological_order(graph: Graph) -> list[int]:
    """A valid order of the nodes that keeps to their numbers where it can; without nodes on and behind a cycle."""
    n = len(graph.labels)
    left = [len({s for _, s in read if s < n}) for read in graph.reads]
    readers = [sorted({node for _, node in found}) for found in graph.readers[:n]]
    order: list[int] = []
    free = [node for node in range(n) if not left[node]]
    while free:
        node = heapq.heappop(free)
        order.append(node)
        for reader in readers[node]:
            left[reader] -= 1
            if not left[reader]:
                heapq.heappush(free, reader)
    return order


def canonical_ranks(graph: Graph) -> list[int]:
    """A rank of each node that follows its label and its place in the graph, not its number.

    Colours are refined by those of all ancestors and descendants until no more nodes can be told apart (as the
    Weisfeiler-Leman test of isomorphism does).  Nodes that stay equal are taken to be images of each other in a
    symmetry of the graph: one of them is marked and the refinement goes on, as in McKay and Piperno, "Practical graph
    isomorphism, II", Journal of Symbolic Computation 60, 2014.
    """
    n, readers, order = len(graph.labels), graph.readers, topological_order(graph)
    colours = [_digest(label) for label in graph.labels] + [_digest("input")] * (len(readers) - n)
    while True:
        colours = _refined(colours, graph, readers, order)
        classes: dict[bytes, list[int]] = {}
        for node, colour in enumerate(colours):
            classes.setdefault(colour, []).append(node)
        equal = min((colour for colour, members in classes.items() if len(members) > 1), default=None)
        if equal is None:
            break
        members = classes[equal]
        neighbours = {(_reads(graph, node), tuple(sorted(readers[node]))) for node in members}
        for number, node in enumerate(members if len(neighbours) == 1 else members[:1]):
            colours[node] = _digest("marked", str(number), equal)
    rank = {colour: number for number, colour in enumerate(sorted(colours[:n]))}
    return [rank[colour] for colour in colours[:n]]


def _reads(graph: Graph, node: int) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(graph.reads[node])) if node < len(graph.labels) else ()


def _digest(*parts: str | bytes) -> bytes:
    joined = b"|".join(part if isinstance(part, bytes) else part.encode() for part in parts)
    return hashlib.blake2b(joined, digest_size=16).digest()


def _refined(colours: list[bytes], graph: Graph, readers: list[list[tuple[str, int]]], order: list[int]) -> list[bytes]:
    """Colours that tell apart what those of ancestors and descendants tell apart, again and again."""
    n = len(graph.labels)
    sources = range(n, len(colours))
    roles = [[(role.encode(), source) for role, source in read] for read in graph.reads]
    back_roles = [[(role.encode(), node) for role, node in read] for read in readers]
    before = 0
    while True:
        forward, backward = list(colours), list(colours)
        for node in order:
            forward[node] = _digest(colours[node], *sorted(role + forward[s] for role, s in roles[node]))
        for node in (*reversed(order), *sources):
            backward[node] = _digest(colours[node], *sorted(role + backward[r] for role, r in back_roles[node]))
        colours = [_digest(a, b) for a, b in zip(forward, backward, strict=True)]
        now = len(set(colours))
        if now == before or now == len(colours):
            return colours
        before = now


def least_alive_order(graph: Graph) -> list[int]:
    """The order of the nodes with the least sum over the steps of the elements alive, ties by `canonical_ranks`.

    Alive in a step: what the node writes, and what was written before and is read in this step or later.  Exact where
    no more than `BEAM` sets of executed nodes of equal number and `CHOICES` next nodes arise, else the best found.
    Parts of the graph that share no written tensor run one after the other.
    """
    ranks = canonical_ranks(graph)
    by_rank = sorted(range(len(ranks)), key=ranks.__getitem__)
    found: list[int] = []
    for part in _parts(graph, by_rank):
        found += part if len(part) == 1 else _best_order(graph, part)
    return found


def _parts(graph: Graph, by_rank: list[int]) -> list[list[int]]:
    """Connected parts, each by rank, in the order of their first nodes."""
    n, readers = len(graph.labels), graph.readers
    part_of: dict[int, int] = {}
    for first in by_rank:
        waiting = [] if first in part_of else [first]
        while waiting:
            node = waiting.pop()
            if node in part_of:
                continue
            part_of[node] = first
            waiting += [r for _, r in readers[node]] + [s for _, s in graph.reads[node] if s < n]
    parts: dict[int, list[int]] = {}
    for node in by_rank:
        parts.setdefault(part_of[node], []).append(node)
    return list(parts.values())


@dataclass(frozen=True)
class _State:
    """A set of executed nodes (bits), elements alive after them, their cost, nodes that may run, the last node."""

    cost: int
    alive: int
    ready: tuple[int, ...]
    last: int
    before: _State | None


def _best_order(graph: Graph, part: list[int]) -> list[int]:
    """`least_alive_order` of one connected part, whose nodes come by rank."""
    at = {node: place for place, node in enumerate(part)}
    n, readers = len(graph.labels), graph.readers
    size = [graph.sizes[node] for node in part]
    reads = [sorted({at[s] for _, s in graph.reads[node] if s < n}) for node in part]
    read_by = [sorted({at[r] for _, r in readers[node]}) for node in part]
    needs = [sum(1 << r for r in read) for read in reads]
    users = [sum(1 << r for r in read) for read in read_by]
    first = tuple(v for v in range(len(part)) if not needs[v])
    states = {0: _State(0, 0, first, -1, None)}
    for _ in part:
        found: dict[int, _State] = {}
        for done, state in states.items():
            options = []
            for v in state.ready:
                now = done | 1 << v
                freed = sum(size[t] for t in reads[v] if not users[t] & ~now)
                options.append((state.alive + size[v] - freed, v, now))
            if len(options) > CHOICES:
                options = sorted(options)[:CHOICES]
            for alive, v, now in options:
                cost = state.cost + state.alive + size[v]
                if now in found and found[now].cost <= cost:
                    continue
                free = [u for u in read_by[v] if not needs[u] & ~now]
                ready = tuple(sorted([*(u for u in state.ready if u != v), *free]))
                found[now] = _State(cost, alive, ready, v, state)
        if len(found) > BEAM:
            best = sorted(found.items(), key=lambda item: item[1].cost + item[1].alive)[:BEAM]
            found = dict(best)
        states = found
    order: list[int] = []
    at_end: _State | None = next(iter(states.values()))
    while at_end is not None and at_end.last >= 0:
        order.append(part[at_end.last])
        at_end = at_end.before
    return order[::-1]
