"""The eBPF runtime's pass 4: IR to LLVM IR to eBPF programs, maps and their metadata."""
