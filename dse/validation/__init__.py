"""The model against published chips, RTL and simulators, one table a module."""
