"""Mixes of networks: batches of different networks, and streams of requests with frame rates and deadlines.

A mix in TOML; the files of those that ship are in `dse/data/mixes`::

    [mix]
    name = "car"
    duration_s = 0.1                # streams with a frame rate send requests for so long
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
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from dse.networks import load_network, network_names
from dse.networks.layers import Network
from dse.networks.toml_file import check_known, read_toml
from dse.runs.column_dictionary import name_fault

DIRECTORY = Path(__file__).parents[1] / "data" / "mixes"
MOST_REQUESTS = 10_000
"""Of one stream."""


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


@dataclass(frozen=True)
class Stream:
    """Requests for one network.

    Parameters
    ----------
    name : of the stream.
    network : name, path, or a `Network`.
    count : requests that arrive together; with `fps`, requests in all.  Default 1, with `fps` those that arrive before
        the mix's `duration_s` ends.
    fps : requests a second; None = all at once [1/s].
    phase_s : arrival of the first [s].
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
        for name in ("fps", "deadline_s", "priority"):
            value = getattr(self, name)
            if value is not None and not (_is_finite(value) and value > 0):
                raise ValueError(f"{owner}: {name} must be positive and finite, got {value!r}")
        if not (_is_finite(self.phase_s) and self.phase_s >= 0):
            raise ValueError(f"{owner}: phase_s must be finite and not negative, got {self.phase_s!r}")


@dataclass(frozen=True)
class Request:
    """One inference of a mix: its stream, arrival, deadline [s] and the requests (by number) that it waits for."""

    stream: int
    arrival_s: float
    deadline_s: float
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class Mix:
    """Streams that share a chip.

    Parameters
    ----------
    name : label.
    streams : at least two requests in all.
    duration_s : how long streams with a frame rate send; default: one request each [s].
    source : where the mix comes from.
    """

    name: str
    streams: tuple[Stream, ...]
    duration_s: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"the name of a mix must be a text, got {self.name!r}")
        if not isinstance(self.streams, tuple | list) or not all(isinstance(s, Stream) for s in self.streams):
            raise ValueError(f"mix {self.name!r}: streams must be a tuple of Stream, got {self.streams!r}")
        names = [stream.name for stream in self.streams]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ValueError(f"mix {self.name!r}: two streams are called {double[0]!r}; give each its own name")
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
        if self.duration_s is not None and not (_is_finite(self.duration_s) and self.duration_s > 0):
            raise ValueError(f"mix {self.name!r}: duration_s must be positive and finite, got {self.duration_s!r}")
        if len(self.requests()) < 2:
            raise ValueError(
                f"mix {self.name!r} is a single request: nothing runs at the same time. Add a network or a count, or "
                "use the problem for one network"
            )

    def requests(self) -> tuple[Request, ...]:
        """All requests, streams one after the other."""
        arrivals = [self._arrivals(stream) for stream in self.streams]
        first = np.concatenate([[0], np.cumsum([len(times) for times in arrivals])]).tolist()
        names = [stream.name for stream in self.streams]
        found = []
        for s, (stream, times) in enumerate(zip(self.streams, arrivals, strict=True)):
            period = None if stream.fps is None else 1 / stream.fps
            within = stream.deadline_s if stream.deadline_s is not None else period
            for i, time in enumerate(times):
                after: tuple[int, ...] = ()
                if stream.after is not None:
                    parent = names.index(stream.after)
                    if self.streams[parent].fps is None:
                        which = min(i, len(arrivals[parent]) - 1)
                    else:
                        which = max(0, int(np.searchsorted(arrivals[parent], time + 1e-12)) - 1)
                    after = (first[parent] + which,)
                found.append(Request(s, time, np.inf if within is None else time + within, after))
        return tuple(found)

    def _arrivals(self, stream: Stream) -> list[float]:
        """Arrival of every request of a stream [s]."""
        if stream.fps is None:
            self._check_count(stream, stream.count or 1)
            return [stream.phase_s] * (stream.count or 1)
        count = stream.count or math.ceil(((self.duration_s or 0.0) - stream.phase_s) * stream.fps - 1e-9)
        if count < 1:
            raise ValueError(
                f"mix {self.name!r}: stream {stream.name!r} starts after {stream.phase_s:g} s and the mix lasts "
                f"{self.duration_s or 0:g} s, so it sends nothing; make duration_s longer or give a count"
            )
        self._check_count(stream, count)
        return [stream.phase_s + i / stream.fps for i in range(count)]

    def _check_count(self, stream: Stream, count: int) -> None:
        if count > MOST_REQUESTS:
            raise ValueError(
                f"mix {self.name!r}: stream {stream.name!r} sends {count:,} requests, more than {MOST_REQUESTS:,}; "
                "make the mix shorter"
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
        return {"name": self.name, "streams": streams, "duration_s": self.duration_s, "source": self.source}

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Mix:
        """The mix from what `plain` gave."""
        return cls(**{**content, "streams": tuple(Stream(**stream) for stream in content["streams"])})

    @classmethod
    def of(
        cls, networks: Iterable[Any], name: str = "mix", batch: int | None = 1, dims: Mapping[str, int] | None = None
    ) -> Mix:
        """One request for each network, all at once; equal names are numbered.  `batch`, `dims`: see `load_network`."""
        streams, seen = [], {}
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
        """Read a mix from TOML, see the module's text; a network's path is relative to the file."""
        path = Path(path)
        content = read_toml(path, ("mix", "streams"))
        head, streams = content["mix"], content["streams"]
        for key in head:
            check_known(key, ("name", "duration_s", "source"), f"{path}: [mix]:")
        known = tuple(f.name for f in fields(Stream) if f.name != "name")
        found = []
        for name, entries in streams.items():
            if not isinstance(entries, dict) or "network" not in entries:
                raise ValueError(f'{path}: [streams.{name}] names no network; give network = "..."')
            for key in entries:
                check_known(key, known, f"{path}: [streams.{name}]:")
            beside = path.parent / str(entries["network"])
            network = str(beside) if beside.is_file() else entries["network"]
            try:
                found.append(Stream(name, **{**entries, "network": network}))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{path}: {error}") from error
        if not found:
            raise ValueError(f"{path}: no streams; give at least one table [streams.NAME] with a network")
        return cls(head.get("name", path.stem), tuple(found), head.get("duration_s"), head.get("source", ""))


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
