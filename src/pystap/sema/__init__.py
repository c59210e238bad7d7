"""Pass 2: names, tapset look-up, probe expansion, types, checks and optimisation."""
