"""The cost model: what a layer or network costs on a design, and the mapper that looks for the best mapping."""
