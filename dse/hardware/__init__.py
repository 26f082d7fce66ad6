"""The design alone: its parameters, dataflows, spaces of designs, presets, technology and area."""
