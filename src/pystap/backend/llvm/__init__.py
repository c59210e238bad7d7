"""LLVM without its Python package: bindings, a textual IR builder, object files, native code."""
