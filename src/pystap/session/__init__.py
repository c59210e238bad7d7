"""Pass 5: load, attach, consume output, count losses, detach."""
