"""Random programs, run on every runtime: what they print and how they end must be the same."""
