"""What the experiments share: options, where they write, manifest, tables, figures, progress, and checked findings."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dse.output.figure_style import COLUMN_IN, Draw, save_widths
from dse.output.progress import shown
from dse.output.units import duration
from dse.runs.files import git_commit, hash_of, now, write_whole
from dse.runs.identity import of_model, versions
from dse.runs.problem_protocol import SearchProblem

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
SHORT = {
    "inception_v3": "Inception-v3", "deeplabv3_resnet50": "DeepLabv3", "resnet50": "ResNet-50",
    "faster_rcnn_resnet50": "Faster R-CNN", "ptb_lstm_medium": "PTB LSTM", "wide_deep": "Wide & Deep",
    "nasnet_a_large": "NASNet-A", "vgg16": "VGG-16", "bert_base": "BERT-base", "efficientnet_b0": "EfficientNet-B0",
    "gpt2_decode": "GPT-2, a token", "gpt2_prefill": "GPT-2, prompt", "mobilenet_v2": "MobileNetV2",
    "ptb_lstm_large": "PTB LSTM large", "resnet50_v1": "ResNet-50 v1", "vit_b_16": "ViT-B/16", "shared": "shared",
    "geomean": "geom. mean",
}  # fmt: skip
"""What figures and findings call the networks."""

Stages = Annotated[list[str] | None, typer.Argument(metavar="[STAGE]...", help="Default: all, in this order.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small study in under a minute, into quick/NAME.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; default results/NAME.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Workers; -1: all cores. They change no number.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Throw away what an earlier study left there.")]
MORE_THAN_SAID_S = 30.0
"""Off a terminal a line of progress comes at every tenth of the work, or after this time [s]."""


class Fault(ValueError):
    """What a user can put right, in one line."""


@dataclass
class Study:
    """One run of an experiment.

    Parameters
    ----------
    name : of the experiment.
    out : where tables and figures go.
    quick : whether it is the small study.
    jobs : workers.
    overwrite : whether `begin` throws away what an earlier study left.
    """

    name: str
    out: Path
    quick: bool
    jobs: int
    overwrite: bool
    _about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def at(cls, name: str, out: Path | None, quick: bool, jobs: int = -1, overwrite: bool = False) -> Study:
        """The study in its directory; the quick one never in results/."""
        place = out or (Path("quick") / name if quick else RESULTS / name)
        if quick and place.resolve().is_relative_to(RESULTS):
            raise Fault(f"--quick writes a study that proves nothing: not into results/, but with --out {place.name}")
        if place.exists() and not place.is_dir():
            raise Fault(f"{place} is a file; name a directory with --out")
        return cls(name, place, quick, jobs, overwrite)

    @property
    def runs(self) -> Path:
        """What the study needs to continue; git does not keep it."""
        return self.out / "runs"

    def run(
        self,
        chosen: Iterable[str] | None,
        stages: Mapping[str, Callable[[], None]],
        begin: Callable[[], None] | None = None,
    ) -> None:
        """Run the stages, all or those chosen, and print how long each took; `begin` before them, but for drawing."""
        for name in (names := list(chosen or stages)):
            if name not in stages:
                raise Fault(f"unknown stage {name!r}; the stages of {self.name} are {', '.join(stages)}")
        if begin is not None and names != ["draw"]:
            begin()
        for name in names:
            wall, cpu = time.perf_counter(), time.process_time()
            stages[name]()
            took = {"wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}
            print(f"{self.name} {name}: {duration(took['wall_s'])}, CPU {duration(took['cpu_s'])}", flush=True)
            if self._about:
                self._about["seconds_of_last_call"][name] = took
                self._write_manifest()

    def begin(self, problems: Iterable[SearchProblem], **settings: Any) -> None:
        """Write the manifest, or continue the study that lies there if its model and settings are these."""
        identity = {"settings": json.loads(json.dumps(settings)), "models": [_model(problem) for problem in problems]}
        path = self.out / "manifest.json"
        if self.overwrite:
            shutil.rmtree(self.runs, ignore_errors=True)
            path.unlink(missing_ok=True)
        if path.is_file():
            try:
                self._about = json.loads(path.read_text(encoding="utf-8"))
                before = self._about["identity"]
                self._about["seconds_of_last_call"].keys()
            except (ValueError, KeyError, TypeError, AttributeError):
                raise Fault(f"{path} is no manifest of this experiment; start over with --overwrite") from None
            if what := sorted(_differences(before, identity)):
                raise Fault(f"{self.out} is another study ({', '.join(what)}); choose --out, or --overwrite it")
        elif any(self.runs.glob("*")):
            raise Fault(f"{self.runs} holds a study without manifest.json; start over with --overwrite")
        else:
            self._about = {"experiment": self.name, "identity": identity, "seconds_of_last_call": {}}
        self._write_manifest()

    def _write_manifest(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        self._about |= {"versions": versions(), "git_commit": git_commit(), "ended": now()}
        write_whole(self.out / "manifest.json", (json.dumps(self._about, indent=1) + "\n").encode())

    def write(self, name: str, table: pd.DataFrame, digits: int | None = None) -> None:
        """A table of the study, whole or as it was."""
        write_table(self.out / name, table, digits)

    def read(self, name: str, columns: Iterable[str]) -> pd.DataFrame:
        """A table of the study."""
        return read_table(self.out / name, columns)

    def save(self, draw: Draw, name: str, title: str, png_width_in: float = COLUMN_IN) -> None:
        """A figure in its widths, each file whole or as it was."""
        self.out.mkdir(parents=True, exist_ok=True)
        save_widths(draw, self.out, name, title, png_width_in=png_width_in)


def _model(problem: SearchProblem) -> dict[str, Any]:
    """What decides the numbers of a problem: content as hashes, and what the model computes on its probes."""
    found = of_model(problem)
    probes = {key: value for key, value in found["probes"].items() if key != "environment"}
    networks = {each["name"]: each["sha256"] for each in found["problem"].get("networks", [])}
    whole = {"problem": found["problem"], "space": found["space"], "model": probes}
    return {"networks": networks} | {key: hash_of(value) for key, value in whole.items()}


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """In words: settings by name, and whether problem, space, networks or model are others."""
    then, today = before.get("settings", {}), after["settings"]
    found = set()
    for key in {*then, *today}:
        if (a := then.get(key)) != (b := today.get(key)):
            found.add(f"other {key}" if isinstance(b, list | dict) else f"{key} {a} there, {b} now")
    models = before.get("models", [])
    if len(models) != len(after["models"]):
        return found | {"other problems"}
    pairs = zip(models, after["models"], strict=True)
    return found | {f"another {key}" for a, b in pairs for key in b if a.get(key) != b[key]}


def check_model(place: Path, problems: Iterable[SearchProblem]) -> None:
    """`Fault` where the tables of a directory are of another model, by its manifest."""
    path = place / "manifest.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["identity"]
        what = _differences({"models": before["models"]}, {"settings": {}, "models": [_model(p) for p in problems]})
    except FileNotFoundError:
        raise Fault(f"{path} is missing: of which model the tables are is unknown") from None
    except (ValueError, KeyError, TypeError):
        what = {"an older one"}
    if what:
        raise Fault(f"{place} was made by another model ({', '.join(sorted(what))}); make it again with --overwrite")


# ---------------------------------------------------------------------------------------------------------------------
# Tables.


def write_table(path: Path, table: pd.DataFrame, digits: int | None = None) -> None:
    """A CSV file, whole or as it was; `digits` significant ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = table.to_csv(index=False, lineterminator="\n", float_format=digits and f"%.{digits}g")
    write_whole(path, text.encode())


def read_table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """A CSV file with these columns; `Fault` names a file that is missing, damaged or of something else."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise Fault(f"{path} is missing; run the experiment that writes it") from None
    except (OSError, ValueError) as error:
        raise Fault(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if missing := [name for name in columns if name not in table]:
        raise Fault(f"{path} has no column {missing[0]}: it is damaged, or of something else")
    for name in columns:
        if len(table) == 0 or table[name].isna().all():
            raise Fault(f"{path} has no value in column {name}: it is damaged, or of something else")
    return table


MOST_STARTS = 200
"""Designs that a search takes from another one, at most."""


def start_of(run: Path, designs: pd.DataFrame, out: Path) -> Path:
    """Designs, the best first, as a directory that `dse.explore(warm_start=...)` takes; `run` is one of their space."""
    write_table(out / "designs.csv", designs.head(MOST_STARTS))
    write_whole(out / "manifest.json", (run / "manifest.json").read_bytes())
    return out


class Rows:
    """Rows of a table that are kept one by one, so that a killed study continues behind the last."""

    def __init__(self, path: Path, key: tuple[str, ...]) -> None:
        self.path, self.key = path, key
        self.rows = read_table(path, key).to_dict("records") if path.is_file() else []

    def __contains__(self, key: tuple) -> bool:
        return any(tuple(row[name] for name in self.key) == key for row in self.rows)

    def add(self, *rows: dict[str, Any]) -> None:
        """Keep these too."""
        self.rows += rows
        write_table(self.path, pd.DataFrame(self.rows))

    def table(self) -> pd.DataFrame:
        """All of them."""
        return pd.DataFrame(self.rows)


# ---------------------------------------------------------------------------------------------------------------------
# Progress.


@contextlib.contextmanager
def searching() -> Iterator[Any]:
    """A callback for `dse.explore(progress=...)`: a bar with the time left, lines off a terminal."""
    with shown(Console(stderr=True)) as callback:
        yield callback


class Steps:
    """Counts steps of work: a bar with the time left on a terminal, else a line now and then."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what, self.done = total, what, 0
        self.start = self.said_s = time.perf_counter()
        self.said = 0.0
        self.bar: Progress | None = None

    def __enter__(self) -> Steps:
        console = Console(stderr=True)
        if console.is_terminal:
            columns = (TextColumn(self.what), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(),
                       TextColumn("left"), TimeRemainingColumn())  # fmt: skip
            self.bar = Progress(*columns, console=console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task(self.what, total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def step(self, n: int = 1) -> None:
        """So many more are done."""
        self.done += n
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done)
            return
        at, share = time.perf_counter(), self.done / self.total
        if share >= 1 or share >= self.said + 0.1 or at - self.said_s > MORE_THAN_SAID_S:
            self.said, self.said_s = share, at
            left = duration((at - self.start) * (1 / share - 1))
            print(f"{self.what}: {self.done:,} of {self.total:,}, {left} left", file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------------------------------------------
# Findings.


@dataclass(frozen=True)
class Finding:
    """A sentence, or a row of a table, as the committed tables say it.

    Parameters
    ----------
    text : with the numbers of the tables; it has to stand in each of the documents, whatever the line breaks.
    holds : whether the tables bear what is said without numbers.
    where : documents.
    """

    text: str
    holds: bool = True
    where: tuple[str, ...] = ("results/README.md",)


def span(values: Iterable[float], form: str = "z.0f", unit: str = " %") -> str:
    """Least and largest, as ``0 to 35 %``."""
    some = list(values)
    return f"{min(some):{form}} to {max(some):{form}}{unit}"
