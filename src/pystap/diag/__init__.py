"""Diagnostics: one value type, one collector, one renderer."""
