"""Mixes of networks: requests, files, and bad input."""

import json
from fractions import Fraction

import numpy as np
import pytest

from dse.networks import network_names
from dse.networks.layers import MacLayer, Network
from dse.simultaneous.mixes import Mix, Stream, load_mix, mix_names

TINY = Network.from_layers([MacLayer("gemm", OX=8, C=8, K=8)])


@pytest.mark.parametrize("name", mix_names())
def test_mix_that_ships(name):
    mix = load_mix(name)
    assert mix.name == name and mix.source
    assert len(mix.requests()) >= 2
    assert all(stream.network in network_names() for stream in mix.streams)
    assert [network.name for network in mix.networks()] == [stream.name for stream in mix.streams]


def test_frames_arrive_at_their_rate_and_are_due_after_a_period():
    mix = Mix(
        "m", (Stream("a", TINY, fps=10), Stream("b", TINY, fps=20, phase_s=0.01, deadline_s=0.02)), duration_s=0.2
    )
    found = [(r.stream, round(r.arrival_s, 9), round(r.deadline_s, 9)) for r in mix.requests()]
    assert found == [(0, 0, 0.1), (0, 0.1, 0.2), (1, 0.01, 0.03), (1, 0.06, 0.08), (1, 0.11, 0.13), (1, 0.16, 0.18)]


def test_a_frame_waits_for_the_last_one_of_its_parent():
    streams = (Stream("a", TINY, fps=10), Stream("b", TINY, fps=20, after="a"))
    assert [r.after for r in Mix("m", streams, duration_s=0.2).requests()] == [(), (), (0,), (0,), (1,), (1,)]
    streams = (Stream("a", TINY, count=2), Stream("b", TINY, count=3, after="a"))
    assert [r.after for r in Mix("m", streams).requests()] == [(), (), (0,), (1,), (1,)]


def test_frames_are_those_that_arrive_while_the_mix_lasts():
    """Counts were rounded to even, and a phase did not shorten them."""

    def arrivals(fps, phase_s=0.0):
        streams = (Stream("a", TINY, fps=fps, phase_s=phase_s), Stream("b", TINY))
        return [round(r.arrival_s, 6) for r in Mix("m", streams, duration_s=0.1).requests() if r.stream == 0]

    assert arrivals(25) == [0, 0.04, 0.08]
    assert arrivals(35) == [0, 0.028571, 0.057143, 0.085714]
    assert arrivals(10) == [0] and arrivals(20) == [0, 0.05]
    assert arrivals(30, 0.05) == [0.05, 0.083333]


def test_a_single_request_waits_for_the_frame_that_has_arrived():
    """It waited for the first one of all."""
    streams = (Stream("a", TINY, fps=10, count=5), Stream("b", TINY, phase_s=0.35, after="a"))
    assert Mix("m", streams).requests()[-1].after == (3,)


def test_networks_by_name_are_numbered_where_they_repeat():
    mix = Mix.of(["mobilenet_v2", "resnet50", "mobilenet_v2"])
    assert [s.name for s in mix.streams] == ["mobilenet_v2", "resnet50", "mobilenet_v2_2"]


def test_own_mix_from_toml(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[mix]\nduration_s = 0.1\n[streams.eye]\nnetwork = "mobilenet_v2"\nfps = 30\npriority = 2\n'
        '[streams.text]\nnetwork = "bert_base"\ndims = {seq = 32}\nafter = "eye"\n'
    )
    mix = load_mix(path)
    assert mix.name == "mine" and len(mix.requests()) == 4
    assert mix.streams[0].priority == 2 and mix.networks()[1].layers[0].name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mix.of(["resnet50"]), "is a single request: nothing runs at the same time"),
        (lambda: Mix("m", (Stream("a", TINY), Stream("a", TINY))), "two streams are called 'a'"),
        (
            lambda: Mix("m", (Stream("a", TINY), Stream("b", TINY, after="c"))),
            "comes after 'c', which is not in the mix",
        ),
        (lambda: Mix("m", (Stream("a", TINY, after="b"), Stream("b", TINY, after="a"))), "wait in a circle"),
        (lambda: Stream("a,b", TINY), "its name becomes a column of CSV files"),
        (lambda: Stream("a", 5), "network must be a name, a path or a Network, got 5"),
        (lambda: Stream("a", TINY, dims=[1]), "dims must be sizes by name"),
        (lambda: Mix("m", (Stream("a", TINY, count=10**9),)), "sends 1,000,000,000 requests, more than 1,000,000"),
        (lambda: Mix.of("resnet50"), "is a single request"),
        (lambda: Stream("a", TINY, count=0), "count must be a whole number of requests >= 1"),
        (lambda: Stream("a", TINY, fps=-1), "fps must be positive"),
        (lambda: Stream("a", TINY, phase_s=-1), "phase_s must be finite and not negative"),
        (lambda: Mix("m", (Stream("a", TINY, count=2),), duration_s=0), "duration_s must be positive"),
        (
            lambda: Mix("m", (Stream("a", TINY, fps=10, phase_s=0.2), Stream("b", TINY)), duration_s=0.1),
            "stream 'a' starts after 0.2 s and the mix lasts 0.1 s",
        ),
        (lambda: Mix("m", ()), "mix 'm' has no streams: give at least one network"),
        (lambda: Stream("a", TINY, fps=0), "fps must be positive and finite, got 0; leave it out for a job without"),
        (lambda: Stream("a", TINY, deadline_s=-0.1), "a deadline before the arrival cannot be met"),
        (lambda: Stream("a", TINY, trace=(0.0, -1.0)), "arrival 1 is -1 s, not a time from 0 on"),
        (lambda: Stream("a", TINY, trace=(0.0, 2.0, 1.0)), "arrival 2 at 1 s comes before arrival 1 at 2 s; sort"),
        (lambda: Stream("a", TINY, trace=(1.0, 1.0)), "all arrivals are at 1 s, which is no rate; give count"),
        (lambda: Stream("a", TINY, trace=(1.0,)), "a trace needs two arrivals or more, got 1"),
        (lambda: Stream("a", TINY, trace="no_such.txt"), "no_such.txt cannot be read: No such file"),
        (lambda: Stream("a", TINY, trace=5), "a trace must be times in seconds, or the path of a file"),
        (lambda: Stream("a", TINY, trace=("x", 1.0)), "a trace must be times in seconds, or the path of a file"),
        (lambda: Stream("a", TINY, trace=((1, 2), (3, 4))), "a trace must be times in seconds, or the path of a file"),
        (lambda: Stream("a", TINY, trace="a\0b"), "is no path: embedded null byte"),
        (lambda: Stream("a", TINY, trace=(0.0, 5e-324)), "all arrivals are at 0 s, which is no rate; give count"),
        (lambda: Stream("a", TINY, fps=5e-324), "is a period that is no number; give a larger rate"),
        (lambda: Stream("a", TINY, fps=10**400), "fps must be positive and finite"),
        (
            lambda: Mix("m", (Stream("a", TINY, fps=1e-300), Stream("b", TINY, fps=30))),
            "which is 3e\\+301 requests",
        ),
        (
            lambda: Mix("m", (Stream("a", TINY, fps=10, phase_s=1e6), Stream("b", TINY, fps=30))),
            "stream 'a' begins after 1e\\+06 s, and the others send 30,000,0.. requests by then",
        ),
        (lambda: Stream("a", TINY, trace=(0.0, 1.0), fps=3), "a trace tells every arrival; leave out fps"),
        (lambda: Stream("a", TINY, fps=3, arrivals="bursty"), "arrivals must be one of periodic, poisson"),
        (lambda: Stream("a", TINY, arrivals="poisson"), "a Poisson process has a rate; give fps"),
        (
            lambda: Mix("m", (Stream("a", TINY, fps=29.97), Stream("b", TINY, fps=30.000001))),
            r"repeat after 1e\+06 s, which is 59,970,001 requests, more than .* a window, such as duration_s = 167",
        ),
        (lambda: Mix("m", (Stream("a", TINY, fps=10, arrivals="poisson"),), 1e9), "give a shorter window"),
        (lambda: Mix("m", (Stream("a", TINY, fps=10), Stream("b", TINY))), "has a rate and no end, .*give duration_s"),
        (lambda: Mix("m", (Stream("a", TINY, fps=10),), seed=-1), "seed must be a whole number >= 0"),
        (lambda: load_mix("no_such"), "unknown mix 'no_such': one of ar_assistant"),
    ],
)
def test_bad_mix_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_numbers_of_numpy_are_numbers():
    """A rate of np.int64(30) was refused as not positive, and a count of it could not be written."""
    given = Stream("a", "mobilenet_v2", fps=np.int64(30), priority=np.float32(2), deadline_s=np.float64(0.1))
    mix = Mix("m", (given, Stream("b", "mobilenet_v2", count=np.int64(3))), duration_s=np.int64(2), seed=np.int64(1))
    assert Mix.from_plain(json.loads(json.dumps(mix.plain()))) == mix and mix.streams[0].fps == 30


@pytest.mark.parametrize(
    ("rates", "seconds"),
    [
        ((60, 60, 45), Fraction(1, 15)),
        ((29.97, 30), Fraction(100, 3)),
        ((0.1,), Fraction(10)),
        ((1.5, 2.5), Fraction(2)),
    ],
)
def test_hyperperiods_are_exact(rates, seconds):
    mix = Mix("m", tuple(Stream(f"s{i}", TINY, fps=float(rate)) for i, rate in enumerate(rates)))
    assert mix.hyperperiod_s == seconds
    assert all((Fraction(str(rate)) * seconds).denominator == 1 for rate in rates)


def test_traces_are_read_beside_the_file_of_the_mix(tmp_path):
    (tmp_path / "times.txt").write_text("0.5\n0.75\n\n2.5\n")
    (tmp_path / "m.toml").write_text('[streams.a]\nnetwork = "mobilenet_v2"\ntrace = "times.txt"\ndeadline_s = 1\n')
    mix = load_mix(tmp_path / "m.toml")
    assert mix.is_steady and not mix.is_periodic and mix.rates[0] == 1.0
    assert [(r.arrival_s, r.deadline_s) for r in mix.requests()] == [(0.5, 1.5), (0.75, 1.75), (2.5, 3.5)]
    assert Mix.from_plain(mix.plain()).requests() == mix.requests()
    (tmp_path / "times.txt").write_text("0.5\nlater\n")
    with pytest.raises(ValueError, match="one time in seconds a line"):
        Stream("a", TINY, trace=tmp_path / "." / "times.txt").trace_s()


def test_kinds_of_mixes():
    assert Mix("m", (Stream("a", TINY, fps=3),)).is_periodic
    assert Mix("m", (Stream("a", TINY, fps=3), Stream("b", TINY, fps=1, arrivals="poisson"))).is_steady
    assert not Mix("m", (Stream("a", TINY, fps=3, count=4), Stream("b", TINY, fps=3)), duration_s=1.0).is_steady


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no streams"),
        ("[streams.a]\nfps = 3\n", "names no network"),
        ('[streams.a]\nnetwork = "resnet50"\nrate = 3\n', "'rate' is unknown"),
        ('[streams.a]\nnetwork = "resnet50"\nfps = "fast"\n', "fps"),
        ("[mix]\nlength = 1\n", "'length' is unknown"),
        ("[[", "not a TOML file"),
    ],
)
def test_bad_file_is_named(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_mix(path)
