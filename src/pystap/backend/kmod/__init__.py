"""The kernel-module runtime: IR printed as C, compiled against a C runtime of our own."""
