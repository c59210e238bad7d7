"""Benchmarks: pystap side by side with its peer on one machine."""
