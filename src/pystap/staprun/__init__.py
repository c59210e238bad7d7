"""``staprun``: runs a finished kernel module; needs neither a compiler nor LLVM."""
