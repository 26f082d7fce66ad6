"""The model against published silicon, RTL and simulators, one reference a module.

A reference module has ``rows()``: a table with one comparison a row and the columns of `dse.validation.table`.
`REFERENCES` lists the modules by name; ``dse validate`` runs them.
"""

REFERENCES = {
    "eyeriss": "dse.validation.eyeriss",
    "tpu": "dse.validation.tpu",
    "gemmini": "dse.validation.gemmini",
    "nvdla": "dse.validation.nvdla",
    "ethos": "dse.validation.ethos",
    "scalesim": "dse.validation.scalesim",
    "areas": "dse.validation.areas",
    "power": "dse.validation.power",
}
"""Name of a reference -> its module."""
