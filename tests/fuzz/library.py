"""Functions of the tapset that give the same for the same arguments wherever they run."""

from __future__ import annotations

from .scope import LONG, STRING

# Name, result and arguments.  Kinds of arguments: long, string, small (a number near 0), base (of
# strtol), flag (0 or 1), delims (of tokenize), nowhere (an address nothing can be read at).
_BASIC = """
strlen long string
isinstr long string string
strpos long string string
isdigit long string
strtol long string base
stringat long string small
substr string string small small
substr string string small small
str_replace string string string string
text_str string string
text_strn string string small flag
tokenize string string delims
tokenize string delims
"""
_MORE = """
string_quoted string string
big_endian2 long long
big_endian4 long long
big_endian8 long long
little_endian2 long long
little_endian4 long long
htonll long long
errno_str string small
errno_str string long
errno_p long long
return_str string flag long
MAJOR long long
MINOR long long
MKDEV long long long
usrdev2kerndev long long
bytes_to_string string long
pages_to_string string long
WIFEXITED long long
WEXITSTATUS long long
signal_str string small
signal_str string long
sa_flags_str string long
sigset_mask_str string long
tcp_sockstate_str string small
irqflags_str string long
rlimit_from_str long string
ip_ntop string long
ctime string long
indent_depth long small
user_string2 string nowhere string
user_string_n2 string nowhere small string
user_string_quoted string nowhere
user_string_n_quoted string nowhere small
user_buffer_quoted string nowhere small small
user_int long nowhere
user_ulong long nowhere
user_short_warn long nowhere
user_char_error long nowhere
kernel_string string nowhere
kernel_string2 string nowhere string
kernel_string_n string nowhere small
kernel_string_quoted string nowhere
kernel_buffer_quoted string nowhere small
kernel_long long nowhere
kernel_string2_utf16 string nowhere string
user_string_quoted_utf32 string nowhere
"""


def _parsed(lines: str) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {LONG: [], STRING: []}
    for line in lines.split("\n"):
        if line:
            name, result, *kinds = line.split()
            found[result].append((name, tuple(kinds)))
    return found


BASIC, MORE = _parsed(_BASIC), _parsed(_MORE)
