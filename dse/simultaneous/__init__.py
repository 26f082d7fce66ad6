"""Several networks on one chip at the same time: mixes, divisions of a design, schedules."""
