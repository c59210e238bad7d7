"""Pass 1: source text to syntax tree."""
