"""The lab: stock Debian kernels under QEMU's emulation, over a read-only view of this machine.

``python -m tests.lab --kernel 6.1 -- COMMAND`` for people, the marker ``lab`` for tests
(``plugin``); docs/lab.md tells more.
"""
