"""Thin typed layer over the kernel interfaces pystap uses; no policy."""
