"""The hardware space: named variables, each an ordered list of levels or a set of choices.

A design is a row of genes, int64 level indices.  ``X.tobytes()`` is its identity.  Every combination of
levels must be a legal `Accelerator`; that is checked when the space is made.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from dse.hardware.accelerator import NAMED, PARAMETERS, Accelerator, check_one_bandwidth
from dse.hardware.dataflow import Dataflow, dataflow_named, own_dataflows, plain_dataflow
from dse.hardware.dataflow_file import dataflows_of, toml_lines
from dse.hardware.dram import bandwidth_gbps
from dse.hardware.dram_types import DRAM_TYPES, DramType, dram_type_named, own_dram_types, types_of
from dse.hardware.dram_types import toml_lines as dram_lines
from dse.hardware.variables import (
    Category,
    Level,
    Ordered,
    Variable,
    check_corners,
    check_kind,
    checked_levels,
    levels_text,
    make_variable,
)
from dse.networks.toml_file import check_known, read_toml, toml_value

__all__ = ["Category", "DesignSpace", "ExtendedSpace", "Ordered", "Variable", "default_space", "small_space"]


LATER = ("narrow_weight_bits", "sparse_weights")
"""Parameters that came after the first spaces: their default is no part of the hash of a space."""


@dataclass(frozen=True, init=False)
class DesignSpace:
    """All combinations of the levels of some `Accelerator` parameters over a base that fixes the rest.

    >>> space = DesignSpace({"rows": [4, 8, 16], "dataflow": ["weight_stationary", "row_stationary"]}, name="tiny")
    >>> space.size, space.names
    (6, ('rows', 'dataflow'))

    Parameters
    ----------
    variables : by parameter name, `Ordered`, `Category`, or a plain list, tuple or range: numbers are
        ordered levels, texts, bools, `Dataflow` and `DramType` values are choices.
    base : the value of every other parameter.
    name : label; not part of the identity (`hash`).

    The same in TOML, for `from_toml`; ``{choices = [...]}`` makes numbers a category::

        [space]
        name = "tiny"

        [base]                  # parameters that differ from Accelerator()
        dram_gbps = 32

        [variables]
        rows = [4, 8, 16]
        dataflow = ["weight_stationary", "row_stationary"]

    A dataflow of one's own is a table ``[dataflows.NAME]`` of the same file, see `dse.hardware.dataflow_file`; a DRAM
    type a table ``[dram_types.NAME]``, see `dse.hardware.dram_types`.
    """

    variables: tuple[Variable, ...]
    base: Accelerator
    name: str

    def __init__(
        self,
        variables: Mapping[str, Ordered | Category | Iterable[Level]],
        base: Accelerator | None = None,
        name: str = "space",
    ) -> None:
        base = Accelerator() if base is None else base
        if not isinstance(base, Accelerator):
            raise ValueError(f"space {name!r}: base must be an Accelerator, such as Accelerator(rows=8), got {base!r}")
        if not isinstance(name, str):
            raise ValueError(f"the name of a space must be a text, got {name!r}")
        if variables and not isinstance(variables, Mapping):
            raise ValueError(
                f"space {name!r}: give levels by parameter, such as {{'rows': [8, 16]}}, got {variables!r}"
            )
        if not variables:
            raise ValueError(
                f"space {name!r} has no variables; name at least one Accelerator parameter with two levels"
            )
        made = tuple(make_variable(parameter, levels, base) for parameter, levels in variables.items())
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "variables", tuple(checked_levels(v, made, base) for v in made))
        check_corners(self.variables, base)

    @property
    def names(self) -> tuple[str, ...]:
        """Parameter names, in gene order."""
        return tuple(v.name for v in self.variables)

    @property
    def n_var(self) -> int:
        """Genes of a design."""
        return len(self.variables)

    @property
    def dataflows(self) -> tuple[Dataflow, ...]:
        """The dataflows that its designs may have, those that ship too."""
        levels = next((v.levels for v in self.variables if v.name == "dataflow"), (self.base.dataflow,))
        return tuple(x for x in levels if isinstance(x, Dataflow))

    @cached_property
    def n_levels(self) -> np.ndarray:
        """Levels of each variable, (n_var,) int64, read-only."""
        return _frozen(np.array([len(v.levels) for v in self.variables], dtype=np.int64))

    @cached_property
    def is_category(self) -> np.ndarray:
        """Variables without an order, (n_var,) bool, read-only."""
        return _frozen(np.array([v.is_category for v in self.variables]))

    @cached_property
    def size(self) -> int:
        """Designs in the space."""
        return math.prod(len(v.levels) for v in self.variables)

    @cached_property
    def hash(self) -> str:
        """SHA-256 over variables, levels and base, equal on every machine; the name is not part of it."""
        fixed = {name: getattr(self.base, name) for name in PARAMETERS if name not in self.names}
        fixed = {name: x for name, x in fixed.items() if name not in LATER or x != PARAMETERS[name].default}
        content = {
            "variables": [[v.name, v.is_category, [_canonical(x) for x in v.levels]] for v in self.variables],
            "base": {name: _canonical(x) for name, x in fixed.items()},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def content(self) -> dict[str, object]:
        """What decides the designs, as JSON values: levels, order of the variables, what else is not the default."""
        default = Accelerator()
        fixed = {p: getattr(self.base, p) for p in PARAMETERS if p not in self.names}
        return {
            "variables": {v.name: _told(v) for v in self.variables},
            "order": list(self.names),
            "base": {p: _json(value) for p, value in fixed.items() if value != getattr(default, p)},
        }

    def validate(self, X: np.ndarray) -> np.ndarray:
        """Genes as a C-contiguous (n, n_var) int64 array, or a ValueError that teaches the fix."""
        X = np.asarray(X)
        expected = f"(n, n_var) = (n, {self.n_var})"
        if X.ndim != 2 or X.shape[1] != self.n_var:
            hint = (
                "for one design write X[None]" if X.shape == (self.n_var,) else f"the genes are {', '.join(self.names)}"
            )
            raise ValueError(f"genes X: got shape {X.shape}, expected {expected}: {hint}")
        if not np.issubdtype(X.dtype, np.integer):
            raise ValueError(f"genes X: got {X.dtype}, expected int64 level indices, 0 to n_levels - 1")
        if X.size and ((X.min(axis=0) < 0).any() or (X.max(axis=0) >= self.n_levels).any()):
            row, gene = np.argwhere((X < 0) | (X >= self.n_levels))[0]
            v = self.variables[gene]
            raise ValueError(
                f"genes X: {v.name} (gene {gene}) is {X[row, gene]} in row {row}, expected 0 to {len(v.levels) - 1}, "
                f"the index of one of its levels {levels_text(v.levels)}"
            )
        return np.ascontiguousarray(X, dtype=np.int64)

    def columns(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Genes (n, n_var) as parameter columns: one array (n,) for each `Accelerator` parameter.

        Numbers and bools are float64; texts, dataflows and DRAM types are object arrays; what is no variable is one
        value seen n times, read-only.  `dram_gbps` is what the DRAM type of a design makes it.
        """
        by_gene = dict(zip(self.names, np.ascontiguousarray(self.validate(X).T), strict=True))
        n = len(X)
        columns = {
            name: self._tables[name][by_gene[name]] if name in by_gene else _full(n, getattr(self.base, name))
            for name in PARAMETERS
        }
        return columns | {"dram_gbps": bandwidth_gbps(columns)}

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        return {v.name: _column(v.levels) for v in self.variables}

    def design(self, x: np.ndarray) -> Accelerator:
        """The `Accelerator` of one row of genes, (n_var,)."""
        x = self.validate(np.asarray(x)[None])[0]
        return replace(self.base, **{v.name: v.levels[i] for v, i in zip(self.variables, x, strict=True)})

    def encode(self, design: Accelerator) -> np.ndarray:
        """Genes (n_var,) of a design; a ValueError names the parameter that is not on the grid."""
        set_by_type = "dram_gbps" if design.dram_type else ""
        for name in PARAMETERS:
            value, fixed = getattr(design, name), getattr(self.base, name)
            if name not in (*self.names, set_by_type) and value != fixed:
                raise ValueError(f"{name}={value!s} is not in space {self.name!r}, which fixes it at {fixed!s}")
        genes = np.empty(self.n_var, dtype=np.int64)
        for i, v in enumerate(self.variables):
            value = getattr(design, v.name)
            if value not in v.levels:
                raise ValueError(
                    f"{v.name}={value!s} is not in space {self.name!r}; its levels are {levels_text(v.levels)}"
                )
            genes[i] = v.levels.index(value)
        return genes

    def all_designs(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Genes of designs number `start` to `stop` - 1, (stop - start, n_var), the last gene running fastest."""
        stop = self.size if stop is None else stop
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f"designs {start} to {stop} are not within the {self.size} of space {self.name!r}")
        if stop > np.iinfo(np.int64).max:
            raise ValueError(f"space {self.name!r} has {self.size} designs: too many to number; use sample()")
        return self._genes(np.arange(start, stop, dtype=np.int64))

    def _genes(self, number: np.ndarray) -> np.ndarray:
        X = np.empty((len(number), self.n_var), dtype=np.int64)
        for i in reversed(range(self.n_var)):
            number, X[:, i] = np.divmod(number, self.n_levels[i])
        return X

    def canonical(self, X: np.ndarray) -> np.ndarray:
        """One choice of genes for each design, (n, n_var): here every one makes a design of its own."""
        return X

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """`n` different designs, uniform, genes (n, n_var)."""
        if not 0 <= n <= self.size:
            raise ValueError(f"cannot draw {n} different designs from the {self.size} of space {self.name!r}")
        if self.size <= np.iinfo(np.int64).max:
            return self._genes(rng.choice(self.size, size=n, replace=False))
        rows: dict[bytes, np.ndarray] = {}
        while len(rows) < n:
            x = rng.integers(0, self.n_levels)
            rows.setdefault(x.tobytes(), x)
        return np.array(list(rows.values()), dtype=np.int64).reshape(n, self.n_var)

    def describe(self) -> list[dict[str, str]]:
        """One row for each variable: name, kind, levels, unit."""
        kinds = {False: "ordered", True: "category"}
        return [
            {"name": v.name, "kind": kinds[v.is_category], "levels": levels_text(v.levels), "unit": v.unit}
            for v in self.variables
        ]

    @classmethod
    def from_toml(cls, path: str | Path) -> DesignSpace:
        """Load a space; the format is in the docstring of the class.

        Raises ValueError, one line that names the file, the table and the key.
        """
        tables = read_toml(path, ("space", "base", "variables", "dataflows", "dram_types"))
        try:
            own = own_of(tables)
            for key in tables["space"]:
                check_known(key, ("name",), "[space]")
            for key in tables["base"]:
                check_known(key, PARAMETERS, "[base] parameter")
            name = tables["space"].get("name", Path(path).stem)
            variables = {key: _toml_levels(key, value, own) for key, value in tables["variables"].items()}
            for key, value in tables["base"].items():
                check_kind(key, (value,))
            base = Accelerator().with_parameters(with_own(tables["base"], own))
            check_one_bandwidth(tables["base"], base)
            return cls(variables, base, str(name))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def to_toml(self, path: str | Path) -> None:
        """Write a file that `from_toml` reads back equal, its own dataflows and DRAM types too.

        Raises ValueError where two of one name differ, or one has the name of a built-in one.
        """
        Path(path).write_text(self.toml_text(), encoding="utf-8")

    def toml_text(self) -> str:
        """The text that `to_toml` writes."""
        default = Accelerator()
        changed = [p for p in PARAMETERS if getattr(self.base, p) != getattr(default, p)]
        lines = ["[space]", f"name = {toml_value(self.name)}", "", "[base]"]
        lines += [f"{p} = {toml_value(_plain(getattr(self.base, p)))}" for p in changed] + ["", "[variables]"]
        for v in self.variables:
            levels = toml_value([_plain(x) for x in v.levels])
            numeric = v.is_category and not isinstance(v.levels[0], (str, bool, *NAMED))
            lines.append(f"{v.name} = {{choices = {levels}}}" if numeric else f"{v.name} = {levels}")
        used = [self.base.dataflow, self.base.dram_type, *(x for v in self.variables for x in v.levels)]
        flows, drams = own_dataflows(used), own_dram_types(used)
        return "\n".join([*lines, *toml_lines(flows.values()), *dram_lines(drams.values())]) + "\n"


class ExtendedSpace(DesignSpace):
    """A hardware space with variables that are no parameters of an `Accelerator`.

    Parameters
    ----------
    hardware : the `DesignSpace` of the accelerator; what `to_toml` writes, with the other variables as comments.
    extra : the other variables; their columns are objects where the levels are texts, else float64.
    name : label.
    """

    hardware: DesignSpace

    def __init__(self, hardware: DesignSpace, extra: Iterable[Variable], name: str) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "base", hardware.base)
        object.__setattr__(self, "hardware", hardware)
        object.__setattr__(self, "variables", (*hardware.variables, *extra))

    def columns(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """As `DesignSpace.columns`, and the other variables, each (n,)."""
        X = self.validate(X)
        n, found = self.hardware.n_var, {}
        for i, variable in enumerate(self.variables[n:]):
            found[variable.name] = _column(variable.levels)[X[:, n + i]]
        return self.hardware.columns(X[:, :n]) | found

    def design(self, x: np.ndarray) -> Accelerator:
        """The `Accelerator` of one row of genes, (n_var,)."""
        return self.hardware.design(self.validate(np.asarray(x)[None])[0, : self.hardware.n_var])

    def toml_text(self) -> str:
        """The hardware space's; the other variables follow as comments."""
        others = [
            f"# {v.name} = {toml_value([_plain(x) for x in v.levels])}" for v in self.variables[self.hardware.n_var :]
        ]
        return "\n".join([self.hardware.toml_text().rstrip("\n"), "# Not of the hardware:", *others, ""])


def default_space() -> DesignSpace:
    """The space of `dse explore`: every parameter of `Accelerator` with `levels`; 21 variables, 1.8e16 designs.

    Word widths stay at int8 weights and activations and 32-bit accumulators, since they change accuracy.
    A PE with `macs_per_pe` multipliers needs that many weights and inputs in its registers to use them all:
    of uniformly drawn designs 27 % offer fewer bytes than that.  The clock stays at 1 GHz, since neither area nor
    voltage pays for a faster one in the model.  Ports count bytes: accesses slow the designs of a front by 0.3 to 2 %
    and keep their order (docs/model.md).  The "flexible" dataflow is left out: the model has no price for its wires,
    so every search would end there.
    """
    variables = {name: parameter.levels for name, parameter in PARAMETERS.items() if parameter.levels}
    return DesignSpace(variables, Accelerator(overlap_skew=True), "default")


def small_space() -> DesignSpace:
    """A sub-space for exhaustive sweeps: 663,552 designs, every level one of `default_space`."""
    variables = {
        "rows": (8, 16, 32, 64),
        "cols": (8, 16, 32, 64),
        "macs_per_pe": (1, 4),
        "dataflow": ("weight_stationary", "output_stationary", "row_stationary", "channel_vector"),
        "interconnect": ("broadcast", "systolic"),
        "weight_register_bytes": (16, 64, 256),
        "output_register_bytes": (4, 32, 256),
        "weight_buffer_kib": (16, 64, 256, 1024),
        "input_buffer_kib": (16, 64, 256, 1024),
        "output_buffer_kib": (16, 64, 256),
        "input_buffer_width_bytes": (16, 64),
        "dram_gbps": (4, 16, 64),
    }
    return DesignSpace(variables, Accelerator(overlap_skew=True, input_register_bytes=16), "small")


@dataclass(frozen=True)
class Own:
    """What a file defines besides parameters, by name: dataflows and DRAM types that are not built in."""

    dataflows: Mapping[str, Dataflow] = field(default_factory=dict)
    dram_types: Mapping[str, DramType] = field(default_factory=dict)

    def named(self, parameter: str, value: object) -> object:
        """A value of a parameter, a name of a dataflow or of a DRAM type as itself: among these, or built in."""
        if parameter == "dataflow" and isinstance(value, str | Dataflow):
            return dataflow_named(value, self.dataflows)
        if parameter == "dram_type" and isinstance(value, str | DramType) and value:
            return dram_type_named(value, self.dram_types)
        return value


def own_of(tables: Mapping[str, dict[str, object]]) -> Own:
    """What the tables ``[dataflows]`` and ``[dram_types]`` of a file define; ValueError names table and key."""
    return Own(dataflows_of(tables["dataflows"]), types_of(tables["dram_types"], DRAM_TYPES))


def with_own(values: Mapping[str, object], own: Own) -> dict[str, object]:
    """Parameter values of a file, dataflow and DRAM type (if any) as themselves."""
    return {key: own.named(key, value) for key, value in values.items()}


def _toml_levels(name: str, value: object, own: Own) -> Category | list:
    if isinstance(value, dict):
        if set(value) != {"choices"} or not isinstance(value["choices"], list):
            raise ValueError(f"variable {name!r}: give a list of levels or {{choices = [...]}}, got {value!r}")
        return Category(*_named(name, value["choices"], own))
    if not isinstance(value, list):
        raise ValueError(f"variable {name!r}: give a list of levels, got {value!r}")
    return _named(name, value, own)


def _named(name: str, levels: list, own: Own) -> list:
    """The levels of a file, names of its own dataflows and DRAM types as these."""
    try:
        return [own.named(name, x) for x in levels]
    except ValueError as error:
        raise ValueError(f"variable {name!r}: {error}") from None


def _plain(value: Level) -> Level:
    """A level as TOML can hold it."""
    return value.name if isinstance(value, NAMED) else value


def _json(value: object) -> object:
    """A level as a JSON value that is equal for equal levels."""
    if isinstance(value, Dataflow):
        return plain_dataflow(value)
    if isinstance(value, DramType):
        return value.plain()
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _told(variable: Variable) -> object:
    """The levels of a variable; numbers without an order under ``choices``."""
    levels = [_json(x) for x in variable.levels]
    return {"choices": levels} if variable.is_category and isinstance(levels[0], float) else levels


def _canonical(value: object) -> str:
    """Text of a level that is equal for equal levels."""
    return repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)


def _column(values: Iterable[Level]) -> np.ndarray:
    values = list(values)
    column = np.empty(len(values), dtype=object if isinstance(values[0], (str, *NAMED)) else np.float64)
    column[:] = values
    return column


def _full(n: int, value: Level) -> np.ndarray:
    one = np.empty((), dtype=object if isinstance(value, (str, *NAMED)) else np.float64)
    one[()] = value
    return np.broadcast_to(one, n)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
