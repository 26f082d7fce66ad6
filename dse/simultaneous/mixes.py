"""Mixes of networks: batches of jobs, and streams of requests with rates and deadlines.

A mix whose streams all have a rate without end (`fps`, periodic or Poisson, or a trace of arrivals) has a steady state
and is measured there, see `dse.simultaneous.steady_state`.  Any other mix is a batch: a finite list of jobs with a
makespan.

A mix in TOML; the files of those that ship are in `dse/data/mixes`::

    [mix]
    name = "car"
    source = "where it comes from"

    [streams.detector]
    network = "faster_rcnn_resnet50"
    fps = 10                        # or count = 2: that many at once
    deadline_s = 0.1                # after arrival; default 1 / fps, none without a rate

    [streams.tracker]
    network = "resnet50"
    fps = 10
    after = "detector"              # each frame waits for the detector's frame that arrived last
    priority = 2

    [streams.commands]
    network = "ptb_lstm_medium"
    fps = 3
    arrivals = "poisson"            # default "periodic"; or trace = "times.txt" in place of fps: one time [s] a line
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from dse.networks import load_network, network_names
from dse.networks.layers import Network
from dse.networks.toml_file import check_known, read_toml
from dse.runs.column_dictionary import name_fault
from dse.text.html import html_table
from dse.text.quantities import number, quantity

DIRECTORY = Path(__file__).parents[1] / "data" / "mixes"
MOST_REQUESTS = 1_000_000
"""Of a mix."""

ENOUGH_REQUESTS = 20_000
"""Of a mix with Poisson arrivals, where it has no `duration_s`; a hyperperiod of no more is run whole whatever that
says."""

MOST_KEPT = 4
"""Tables of requests that a mix keeps."""

ARRIVALS = ("periodic", "poisson")

LARGEST = sys.float_info.max

NOISE = 8 * sys.float_info.epsilon
"""Of a time: what two sums of a phase, periods and a deadline for it may differ by [1]."""


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number too large for a float
        return False


def _plain_numbers(of: object, names: Iterable[str]) -> None:
    """Make numbers of numpy those of Python, which JSON can hold."""
    for name in names:
        value = getattr(of, name)
        if value is not None and not isinstance(value, int | float):
            object.__setattr__(of, name, int(value) if isinstance(value, Integral) else float(value))


def _as_float(value: Fraction) -> float:
    """The nearest number, inf where it is too large for one."""
    return float(value) if value <= LARGEST else math.inf


def _many(count: float) -> str:
    """A number of requests for a message."""
    return f"{count:,.0f}" if count < 1e12 else f"{count:.3g}"


@dataclass(frozen=True)
class Stream:
    """Requests for one network.

    Parameters
    ----------
    name : of the stream.
    network : name, path, or a `Network`.
    count : requests that arrive together, default 1; with `fps`, requests in all, default without end.
    fps : requests a second; None = all at once [1/s].
    arrivals : one of `ARRIVALS`: one request every 1 / fps, or a Poisson process of that rate, by the mix's seed.
    trace : times of arrival, ascending, or the path of a text file with one a line [s]; in place of `fps` and `count`.
    phase_s : arrival of the first, of a Poisson process its begin [s].
    deadline_s : time from arrival within which a request must finish; default one period, none without `fps` [s].
    priority : see `dse.simultaneous.schedules.Job`.
    after : name of a stream; each request waits for the last one of it that has arrived (before its first: for that),
        or the i-th for the i-th of requests that all arrive together.
    batch, dims : of the network, as in `load_network`.
    stands_for : what the source has in this place, if another network.
    """

    name: str
    network: Any
    count: int | None = None
    fps: float | None = None
    phase_s: float = 0.0
    deadline_s: float | None = None
    priority: float = 1.0
    after: str | None = None
    batch: int | None = 1
    dims: Mapping[str, int] = field(default_factory=dict)
    stands_for: str = ""
    arrivals: str = "periodic"
    trace: str | Path | tuple[float, ...] | None = None

    def told(self) -> tuple[str, ...]:
        """The stream for people: name, network, requests, rate, deadline, what it waits for, what it stands for."""
        due = self.deadline_s if self.deadline_s is not None else self.fps and 1 / self.fps
        network = self.network.name if isinstance(self.network, Network) else str(self.network)
        return (
            self.name,
            network,
            "without end" if self.is_endless else str(self.count or 1),
            f"{number(self.fps)} 1/s" if self.fps else "-",
            quantity(due, "s") if due else "-",
            self.after or "",
            self.stands_for,
        )

    def __post_init__(self) -> None:
        owner = f"stream {self.name!r}"
        if fault := name_fault(self.name):
            raise ValueError(
                f"{owner}: its name becomes a column of CSV files, but {fault}; give a text without commas and quotes"
            )
        if not isinstance(self.network, str | Path | Network):
            raise ValueError(f"{owner}: network must be a name, a path or a Network, got {self.network!r}")
        if not isinstance(self.dims, Mapping):
            raise ValueError(f"{owner}: dims must be sizes by name, such as {{seq = 128}}, got {self.dims!r}")
        whole = self.count is None or (isinstance(self.count, Integral) and not isinstance(self.count, bool))
        if not whole or (self.count is not None and self.count < 1):
            raise ValueError(f"{owner}: count must be a whole number of requests >= 1, got {self.count!r}")
        hints = {
            "fps": "; leave it out for a job without a rate",
            "deadline_s": ": it counts from the arrival, so a deadline before the arrival cannot be met",
            "priority": "",
        }
        for name, hint in hints.items():
            value = getattr(self, name)
            if value is not None and not (_is_finite(value) and value > 0):
                raise ValueError(f"{owner}: {name} must be positive and finite, got {value!r}{hint}")
        if self.fps is not None and self.fps < 1 / LARGEST:
            raise ValueError(f"{owner}: fps {self.fps!r} is a period that is no number; give a larger rate")
        if not (_is_finite(self.phase_s) and self.phase_s >= 0):
            raise ValueError(f"{owner}: phase_s must be finite and not negative, got {self.phase_s!r}")
        _plain_numbers(self, ("count", *hints, "phase_s"))
        if self.arrivals not in ARRIVALS:
            raise ValueError(f"{owner}: arrivals must be one of {', '.join(ARRIVALS)}, got {self.arrivals!r}")
        if self.arrivals == "poisson" and self.fps is None:
            raise ValueError(f"{owner}: a Poisson process has a rate; give fps")
        if self.trace is not None:
            if self.fps is not None or self.count is not None or self.phase_s:
                raise ValueError(f"{owner}: a trace tells every arrival; leave out fps, count and phase_s")
            if not isinstance(self.trace, str | Path):
                object.__setattr__(self, "trace", _numbers(self.trace, owner))
            self.trace_s()

    @property
    def is_endless(self) -> bool:
        """Whether it has a rate and no last request of its own; a trace counts as a piece of such a stream."""
        return self.trace is not None or (self.fps is not None and self.count is None)

    def trace_s(self) -> np.ndarray:
        """Arrivals of the trace, checked, (n,) [s]."""
        owner = f"stream {self.name!r}"
        if isinstance(self.trace, str | Path):
            try:
                path = Path(self.trace).resolve()
            except ValueError as error:
                raise ValueError(f"{owner}: the trace {str(self.trace)!r} is no path: {error}") from None
            changed = path.stat().st_mtime_ns if path.is_file() else 0
            return _trace_of_file(str(path), changed, owner)
        return _checked_trace(np.asarray(self.trace, float), owner)


def _numbers(times: Any, owner: str) -> tuple[float, ...]:
    """Times of a trace; ValueError where they are anything else."""
    try:
        found = np.asarray(list(times), float)
    except (TypeError, ValueError, OverflowError):
        found = np.zeros((0, 0))
    if found.ndim != 1 or isinstance(times, bytes | set | frozenset | Mapping):
        raise ValueError(f"{owner}: a trace must be times in seconds, or the path of a file with one a line")
    return tuple(found.tolist())


@functools.lru_cache(maxsize=8)
def _trace_of_file(path: str, changed: int, owner: str) -> np.ndarray:
    try:
        times = np.array([float(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()])
    except OSError as error:
        raise ValueError(f"{owner}: the trace {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{owner}: the trace {path} must have one time in seconds a line: {error}") from None
    return _checked_trace(times, f"{owner}: trace {path}")


def _checked_trace(times: np.ndarray, owner: str) -> np.ndarray:
    if len(times) < 2:
        raise ValueError(f"{owner}: a trace needs two arrivals or more, got {times.size}; for one job leave it out")
    if len(times) > MOST_REQUESTS:
        raise ValueError(f"{owner}: a trace of {len(times):,} arrivals, more than {MOST_REQUESTS:,}; cut it")
    if not (np.isfinite(times) & (times >= 0)).all():
        wrong = int(np.argmax(~(np.isfinite(times) & (times >= 0))))
        raise ValueError(
            f"{owner}: arrival {wrong} is {times[wrong]:g} s, not a time from 0 on; shift the trace so that none is "
            "negative"
        )
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        i = int(back[0]) + 1
        raise ValueError(
            f"{owner}: arrival {i} at {times[i]:g} s comes before arrival {i - 1} at {times[i - 1]:g} s; sort the trace"
        )
    if times[-1] - times[0] < len(times) / LARGEST:
        raise ValueError(f"{owner}: all arrivals are at {times[0]:g} s, which is no rate; give count in place of it")
    times.setflags(write=False)
    return times


@dataclass(frozen=True)
class Request:
    """One inference of a mix: its stream, arrival, deadline [s] and the requests (by number) that it waits for."""

    stream: int
    arrival_s: float
    deadline_s: float
    after: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Requests:
    """Requests of a mix as arrays, each (n,): number of the stream, arrival and deadline [s], and the number of the
    request that each waits for, -1 = none."""

    stream: np.ndarray
    arrival_s: np.ndarray
    deadline_s: np.ndarray
    after: np.ndarray

    def __len__(self) -> int:
        return len(self.stream)

    def by_arrival(self) -> Requests:
        """The same, by arrival; streams that arrive together stay in their order."""
        order = np.argsort(self.arrival_s, kind="stable")
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        after = np.where(self.after < 0, -1, place[self.after])
        return Requests(self.stream[order], self.arrival_s[order], self.deadline_s[order], after[order])


def _without_noise(arrival_s: np.ndarray, deadline_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times of which those are equal that differ by no more than their rounding, such as 1/60 + 1/60 and 1/30; else
    noise would decide what goes first, another way in every hyperperiod, (n,) each [s]."""
    times = np.concatenate([arrival_s, deadline_s])
    order = np.argsort(times, kind="stable")
    ascending = times[order[: np.isfinite(times).sum()]]
    is_new = np.append(True, np.diff(ascending) > NOISE * ascending[1:])[: len(ascending)]
    times[order[: len(ascending)]] = ascending[is_new][np.cumsum(is_new) - 1]
    return times[: len(arrival_s)], times[len(arrival_s) :]


@dataclass(frozen=True, repr=False)
class Mix:
    """Streams that share a chip.

    Parameters
    ----------
    name : label.
    streams : at least one that is endless, or two requests in all.
    duration_s : window in which requests arrive [s].  Of streams with rates default as long as it takes: periodic ones
        until the state repeats (only a window shorter than a hyperperiod of more than `ENOUGH_REQUESTS` changes that),
        Poisson processes
        `ENOUGH_REQUESTS`, traces to the end of the shortest.  A batch with endless streams needs it.
    source : where the mix comes from.
    seed : of Poisson arrivals; every design of a search sees the same.
    """

    name: str
    streams: tuple[Stream, ...]
    duration_s: float | None = None
    source: str = ""
    seed: int = 0

    def __repr__(self) -> str:
        return f"<Mix {self.name}: {', '.join(stream.name for stream in self.streams)}>"

    def _repr_html_(self) -> str:
        heads = ("stream", "network", "requests", "rate", "deadline", "after")
        return html_table(f"{self.name}: {self.source}" if self.source else self.name, heads,
                          [stream.told()[:-1] for stream in self.streams])  # fmt: skip

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"the name of a mix must be a text, got {self.name!r}")
        if not isinstance(self.streams, tuple | list) or not all(isinstance(s, Stream) for s in self.streams):
            raise ValueError(f"mix {self.name!r}: streams must be a tuple of Stream, got {self.streams!r}")
        if not self.streams:
            raise ValueError(f"mix {self.name!r} has no streams: give at least one network")
        names = [stream.name for stream in self.streams]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ValueError(f"mix {self.name!r}: two streams are called {double[0]!r}; give each its own name")
        self._check_dependencies(names)
        if self.duration_s is not None and not (_is_finite(self.duration_s) and self.duration_s > 0):
            raise ValueError(f"mix {self.name!r}: duration_s must be positive and finite, got {self.duration_s!r}")
        if not isinstance(self.seed, Integral) or isinstance(self.seed, bool) or self.seed < 0:
            raise ValueError(f"mix {self.name!r}: seed must be a whole number >= 0, got {self.seed!r}")
        _plain_numbers(self, ("duration_s", "seed"))
        if not self.is_steady and sum(len(times) for times in self._arrivals(self.duration_s)) < 2:
            raise ValueError(
                f"mix {self.name!r} is a single request: nothing runs at the same time. Add a network or a count, or "
                "use the problem for one network"
            )
        if self.is_steady:
            self.window_s  # noqa: B018 - raises where it would be too long

    def _check_dependencies(self, names: list[str]) -> None:
        for stream in self.streams:
            if stream.after is not None and stream.after not in names:
                raise ValueError(
                    f"mix {self.name!r}: stream {stream.name!r} comes after {stream.after!r}, which is not in the mix; "
                    f"its streams are {', '.join(names)}"
                )
            seen, behind = [stream.name], stream.after
            while behind is not None:
                if behind in seen:
                    circle = " after ".join([*seen, behind])
                    raise ValueError(f"mix {self.name!r}: streams wait in a circle ({circle}); remove one `after`")
                seen.append(behind)
                behind = self.streams[names.index(behind)].after

    @property
    def is_steady(self) -> bool:
        """Whether all streams are endless, so that the mix has a steady state and no makespan."""
        return all(stream.is_endless for stream in self.streams)

    @property
    def is_periodic(self) -> bool:
        """Whether all streams are endless and periodic."""
        return self.is_steady and all(s.trace is None and s.arrivals == "periodic" for s in self.streams)

    @functools.cached_property
    def rates(self) -> np.ndarray:
        """Requests a second of each endless stream, 0 of the others, (n_streams,) [1/s]; of a trace its mean."""
        found = np.zeros(len(self.streams))
        for s, stream in enumerate(self.streams):
            if stream.trace is not None:
                times = stream.trace_s()
                found[s] = (len(times) - 1) / (times[-1] - times[0])
            elif stream.is_endless:
                found[s] = stream.fps
        found.setflags(write=False)
        return found

    @functools.cached_property
    def hyperperiod_s(self) -> Fraction | None:
        """Least common multiple of the periods [s], exact for the decimal digits of the rates; None: not periodic."""
        if not self.is_periodic:
            return None
        periods = [1 / Fraction(repr(float(stream.fps))) for stream in self.streams if stream.fps is not None]
        return Fraction(math.lcm(*(p.numerator for p in periods)), math.gcd(*(p.denominator for p in periods)))

    @functools.cached_property
    def window_s(self) -> float | None:
        """Window that a steady mix is looked at in, [s]; None: of whole hyperperiods, until the state repeats.

        ValueError where that would be more than `MOST_REQUESTS`.
        """
        rate, hyperperiod = float(self.rates.sum()), self.hyperperiod_s
        if hyperperiod is not None:
            seconds = _as_float(hyperperiod)
            each = seconds * rate
            if self.duration_s is not None and self.duration_s < seconds and each > ENOUGH_REQUESTS:
                window = self.duration_s
            elif each > MOST_REQUESTS:
                raise ValueError(
                    f"mix {self.name!r}: its streams repeat after {seconds:.6g} s, which is "
                    f"{_many(each)} requests, more than {MOST_REQUESTS:,}; round the rates so that "
                    f"their periods have a common multiple, or give a window, such as duration_s = {10_000 / rate:.3g}"
                )
            else:
                self._check_phases(2 * seconds)
                return None
        elif self.duration_s is not None:
            window = self.duration_s
        else:
            ends = [float(s.trace_s()[-1]) for s in self.streams if s.trace is not None]
            window = math.nextafter(min(ends), math.inf) if ends else ENOUGH_REQUESTS / rate
        if (expected := self.expected(window)) > 1.1 * MOST_REQUESTS:
            raise ValueError(
                f"mix {self.name!r}: {window:.6g} s are {_many(expected)} requests, more than {MOST_REQUESTS:,}; "
                f"give a shorter window, such as duration_s = {10_000 / rate:.3g}"
            )
        return window

    def _check_phases(self, more_s: float) -> None:
        """ValueError where too many requests arrive before the last stream begins, and in some time more."""
        late = max(self.streams, key=lambda stream: stream.phase_s)
        if late.phase_s and (count := self.expected(late.phase_s + more_s)) > MOST_REQUESTS:
            raise ValueError(
                f"mix {self.name!r}: stream {late.name!r} begins after {late.phase_s:g} s, and the others send "
                f"{_many(count)} requests by then, more than {MOST_REQUESTS:,}; give a shorter phase_s"
            )

    def expected(self, duration_s: float) -> float:
        """Requests of a steady mix that arrive before a time, of Poisson processes their mean [1]."""
        return sum(
            float(np.searchsorted(s.trace_s(), duration_s)) if s.trace is not None
            else max(0.0, duration_s - s.phase_s) * float(rate)
            for s, rate in zip(self.streams, self.rates, strict=True)
        )  # fmt: skip

    def table(self, duration_s: float | None = None) -> Requests:
        """All requests that arrive in `duration_s`, default the mix's own window, streams one after the other."""
        return self._table(self._default_duration_s() if duration_s is None else duration_s)

    def by_arrival(self, duration_s: float) -> Requests:
        """As `table`, by arrival; kept for the next design of a search, which sees the same requests."""
        found = self._kept.get(duration_s)  # threads share it
        if found is None:
            found = self._kept[duration_s] = self.table(duration_s).by_arrival()
            for old in list(self._kept)[:-MOST_KEPT]:
                self._kept.pop(old, None)
        return found

    @functools.cached_property
    def _kept(self) -> dict[float, Requests]:
        return {}

    def _table(self, duration_s: float | None) -> Requests:
        arrivals = self._arrivals(duration_s)
        first = np.concatenate([[0], np.cumsum([len(times) for times in arrivals])])
        names = [stream.name for stream in self.streams]
        deadlines, after = [], []
        for stream, times in zip(self.streams, arrivals, strict=True):
            period = None if stream.fps is None else 1 / stream.fps
            within = stream.deadline_s if stream.deadline_s is not None else period
            deadlines.append(times + (np.inf if within is None else within))
            if stream.after is None:
                after.append(np.full(len(times), -1))
                continue
            parent = names.index(stream.after)
            if self.streams[parent].fps is None and self.streams[parent].trace is None:
                which = np.minimum(np.arange(len(times)), len(arrivals[parent]) - 1)
            else:
                which = np.maximum(0, np.searchsorted(arrivals[parent], times + (1e-12 + 1e-15 * times)) - 1)
            after.append(first[parent] + which if len(arrivals[parent]) else np.full(len(times), -1))
        stream_of = np.repeat(np.arange(len(arrivals)), np.diff(first))
        arrival, deadline = _without_noise(np.concatenate(arrivals), np.concatenate(deadlines))
        return Requests(stream_of, arrival, deadline, np.concatenate(after))

    def _default_duration_s(self) -> float | None:
        if not self.is_steady:
            return self.duration_s
        hyperperiod, window = self.hyperperiod_s, self.window_s
        if window is None and hyperperiod is not None:
            return self.duration_s or float(hyperperiod) + max(stream.phase_s for stream in self.streams)
        return window

    def arrival_law(self) -> tuple:
        """What decides the arrivals of a steady mix, deadlines and dependencies, for a hash."""
        streams = tuple(
            (s.fps, s.phase_s, s.deadline_s, s.after, s.arrivals, None if s.trace is None else s.trace_s().tobytes())
            for s in self.streams
        )
        return streams, self.duration_s, self.seed

    def requests(self) -> tuple[Request, ...]:
        """All requests in the mix's own window, one by one, streams one after the other."""
        found = self.table()
        columns = (found.stream.tolist(), found.arrival_s.tolist(), found.deadline_s.tolist(), found.after.tolist())
        return tuple(Request(s, a, d, () if p < 0 else (p,)) for s, a, d, p in zip(*columns, strict=True))

    def _arrivals(self, duration_s: float | None) -> list[np.ndarray]:
        """Arrival of every request of each stream [s]."""
        found = [self._arrivals_of(s, stream, duration_s) for s, stream in enumerate(self.streams)]
        total = sum(len(times) for times in found)
        if total > MOST_REQUESTS * 1.2:
            raise ValueError(
                f"mix {self.name!r} sends {total:,} requests, more than {MOST_REQUESTS:,}; make the mix shorter"
            )
        return found

    def _arrivals_of(self, s: int, stream: Stream, duration_s: float | None) -> np.ndarray:
        if stream.trace is not None:
            times = stream.trace_s()
            return times if duration_s is None else times[: np.searchsorted(times, duration_s)]
        if stream.fps is None:
            self._check_count(stream, stream.count or 1)
            return np.full(stream.count or 1, float(stream.phase_s))
        if stream.count is None and duration_s is None:
            raise ValueError(
                f"mix {self.name!r}: stream {stream.name!r} has a rate and no end, and other streams are jobs that run "
                "once; give duration_s, or the stream a count"
            )
        expected = stream.count or max(0.0, ((duration_s or 0.0) - stream.phase_s) * stream.fps)
        self._check_count(stream, expected)
        if stream.arrivals == "poisson":
            times = self._poisson(s, stream, expected, duration_s)
        else:
            times = stream.phase_s + np.arange(stream.count or math.ceil(expected - 1e-9)) / stream.fps
        if not len(times) and not self.is_steady:
            raise ValueError(
                f"mix {self.name!r}: stream {stream.name!r} starts after {stream.phase_s:g} s and the mix lasts "
                f"{duration_s or 0:g} s, so it sends nothing; make duration_s longer or give a count"
            )
        return times

    def _poisson(self, s: int, stream: Stream, expected: float, duration_s: float | None) -> np.ndarray:
        """Sums of exponential times, from a generator of this stream alone."""
        assert stream.fps is not None
        rng = np.random.default_rng([self.seed, s])
        if stream.count is not None:
            return stream.phase_s + np.cumsum(rng.exponential(1 / stream.fps, stream.count))
        assert duration_s is not None
        pieces = [np.array([stream.phase_s])]
        while pieces[-1][-1] < duration_s:  # of one length, so that a longer mix begins as a shorter one
            pieces.append(pieces[-1][-1] + np.cumsum(rng.exponential(1 / stream.fps, 4096)))
        times = np.concatenate(pieces[1:]) if pieces[1:] else np.zeros(0)
        return times[times < duration_s]

    def _check_count(self, stream: Stream, count: float) -> None:
        if count > MOST_REQUESTS * 1.1:
            raise ValueError(
                f"mix {self.name!r}: stream {stream.name!r} sends {_many(count)} requests, more than "
                f"{MOST_REQUESTS:,}; make the mix shorter"
            )

    def networks(self) -> tuple[Network, ...]:
        """The network of every stream, each called as its stream."""
        return tuple(
            (s.network if isinstance(s.network, Network) else load_network(s.network, s.batch, dict(s.dims))).renamed(
                s.name
            )
            for s in self.streams
        )

    def plain(self) -> dict[str, Any] | None:
        """The mix as JSON values, for `from_plain`; None where a network is not known by name or path."""
        if any(isinstance(stream.network, Network) for stream in self.streams):
            return None
        streams = []
        for stream in self.streams:
            name = str(stream.network)
            where = name if name in network_names() else str(Path(name).resolve())
            streams.append({f.name: getattr(stream, f.name) for f in fields(Stream)} | {"network": where})
            streams[-1]["dims"] = dict(stream.dims)
            if isinstance(stream.trace, str | Path):
                streams[-1]["trace"] = str(Path(stream.trace).resolve())
        own = ("name", "duration_s", "source", "seed")
        return {"streams": streams} | {name: getattr(self, name) for name in own}

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Mix:
        """The mix from what `plain` gave."""
        return cls(**{**content, "streams": tuple(Stream(**stream) for stream in content["streams"])})

    @classmethod
    def of(
        cls, networks: Iterable[Any], name: str = "mix", batch: int | None = 1, dims: Mapping[str, int] | None = None
    ) -> Mix:
        """One request for each network, all at once; equal names are numbered.  `batch`, `dims`: see `load_network`."""
        streams = []
        seen: dict[str, int] = {}
        given = [networks] if isinstance(networks, str | Path | Network) else networks
        if isinstance(given, set | frozenset | Mapping) or not isinstance(given, Iterable):
            raise ValueError(f"expected a list of networks, or a mix, got {networks!r}")
        for network in given:
            label = network.name if isinstance(network, Network) else Path(str(network)).stem
            seen[label] = seen.get(label, 0) + 1
            label = label if seen[label] == 1 else f"{label}_{seen[label]}"
            streams.append(Stream(label, network, batch=batch, dims=dims or {}))
        return cls(name, tuple(streams))

    @classmethod
    def from_toml(cls, path: str | Path) -> Mix:
        """Read a mix from TOML, see the module's text; paths of networks and traces are relative to the file."""
        path = Path(path)
        content = read_toml(path, ("mix", "streams"))
        head, streams = content["mix"], content["streams"]
        for key in head:
            check_known(key, ("name", "duration_s", "source", "seed"), f"{path}: [mix]:")
        known = tuple(f.name for f in fields(Stream) if f.name != "name")
        found = []
        for name, entries in streams.items():
            if not isinstance(entries, dict) or "network" not in entries:
                raise ValueError(f'{path}: [streams.{name}] names no network; give network = "..."')
            for key in entries:
                check_known(key, known, f"{path}: [streams.{name}]:")
            beside = path.parent / str(entries["network"])
            paths = {"network": str(beside) if beside.is_file() else entries["network"]}
            if isinstance(entries.get("trace"), str):
                paths["trace"] = str(path.parent / entries["trace"])
            try:
                found.append(Stream(name, **{**entries, **paths}))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}: {error}") from error
        if not found:
            raise ValueError(f"{path}: no streams; give at least one table [streams.NAME] with a network")
        return cls(
            head.get("name", path.stem), tuple(found), head.get("duration_s"), head.get("source", ""),
            head.get("seed", 0),
        )  # fmt: skip


def mix_names() -> tuple[str, ...]:
    """Names of the mixes that ship."""
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.toml")))


def load_mix(name_or_path: str | Path) -> Mix:
    """A mix that ships, by name, or one of your own, by the path of its TOML file."""
    if not isinstance(name_or_path, str | Path):
        raise ValueError(f"expected the name of a mix or the path of a .toml file, got {name_or_path!r}")
    if str(name_or_path) in mix_names():
        return Mix.from_toml(DIRECTORY / f"{name_or_path}.toml")
    if not Path(name_or_path).is_file():
        raise ValueError(
            f"unknown mix {str(name_or_path)!r}: one of {', '.join(mix_names())}, or the path of a .toml file"
        )
    return Mix.from_toml(name_or_path)
