"""Edits of a network that make it faster on given hardware, and what they do to its accuracy."""
