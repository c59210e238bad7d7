"""pystap: an independent SystemTap in Python."""

__version__ = "0.1.0"
