"""The search: proposals, exploration, Pareto fronts, exhaustive sweeps."""
