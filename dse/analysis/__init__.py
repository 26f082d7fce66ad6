"""Why a network is slow on a design, what operations want, what generality costs, how far constants matter."""
