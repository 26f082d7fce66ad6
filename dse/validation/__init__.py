"""The model against published silicon, RTL and simulators, one reference a module.

A reference module has ``rows()``: a table with one comparison a row and the columns of `dse.validation.table`.
`REFERENCES` lists the modules by name; ``dse validate`` runs them.
"""

REFERENCES = {
    "areas": "dse.validation.areas",
    "scalesim": "dse.validation.scalesim",
    "nvdla": "dse.validation.nvdla",
}
"""Name of a reference -> its module."""
