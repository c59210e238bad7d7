"""Texts of the run-time errors, the same in every runtime.

Templates hold ``%`` directives: ``%016x`` stands for an address, ``%d`` for a number.
"""

from __future__ import annotations

from pystap.typing import Final

DIVISION_BY_ZERO: Final = "division by 0"
MAXACTION_EXCEEDED: Final = "MAXACTION exceeded"
MAXNESTING_EXCEEDED: Final = "MAXNESTING exceeded"
EMPTY_AGGREGATE: Final = "empty aggregate"
HISTOGRAM_RANGE: Final = "histogram index out of range"
FUNCTIONS_EXHAUSTED: Final = "all functions exhausted"

ARRAY_OVERFLOW: Final = "Array overflow, check MAXMAPENTRIES"
ARRAY_OVERFLOW_SIZED: Final = "Array overflow, check size limit (%d)"  # declared capacity

KERNEL_STRING_FAULT: Final = "kernel string copy fault -14 at %016x"
USER_STRING_FAULT: Final = "user string copy fault -14 at %016x"
KERNEL_READ_FAULT: Final = "kernel read fault at %016x"
USER_READ_FAULT: Final = "user read fault at %016x"
KERNEL_WRITE_FAULT: Final = "kernel write fault at %016x"
USER_WRITE_FAULT: Final = "user write fault at %016x"
MEMORY_DUMP_SIZE: Final = "%d is too many bytes for a memory dump"
FIELD_SIZE: Final = "%d is too many bytes for a printed field"
HOOK_RESULT: Final = "%d is no result of a security hook (-4095..0)"

STRING_INDEX: Final = "invalid string index"
MATCH_FAILED: Final = "Attempted to get subexpression from failed match"
MATCH_GROUP: Final = "Attempted to get nonexistent subexpression %d"

# %t is the threshold, which is put in when the script is translated
OVERLOAD: Final = "probe overhead (%d cycles) exceeded threshold (%t cycles) in last %d cycles"

SKIPPED_TOO_MANY: Final = (
    "Skipped too many probes, check MAXSKIPPED or try again with stap -t for more details."
)
