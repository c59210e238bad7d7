"""What the compiler says, in words of the script."""

from __future__ import annotations

from pathlib import Path

from pystap.backend.kmod.complaints import explain

C_TEXT = """\
/* Made by pystap from a script. */
#include "module.h"
#line 2 "a b.stp"
   int helper(void) { return nosuch; }
static int fine;
#line 7 "module.c"
/* begin at */ /* a b.stp:4:1 */
static void handler(void)
{
	broken here;
#line 5 "a b.stp"
     other
#line 14 "module.c"
}
"""
IN_SCRIPT = """\
  CC [M]  /tmp/x/stap_a.o
a b.stp: In function 'helper':
a b.stp:2:29: error: 'nosuch' undeclared (first use in this function)
    2 |    int helper(void) { return nosuch; }
a b.stp:5:6: error: 'other' undeclared (first use in this function)
make[1]: *** [scripts/Makefile.build:250: stap_a.o] Error 1
"""
IN_OURS = "module.c:10:2: error: unknown type name 'broken'\n"


def explained(tmp_path: Path, output: str, text: str = C_TEXT) -> list[str]:
    """The lines for what make said."""
    (tmp_path / "stap_a.c").write_text(text)
    return explain(output, tmp_path, Path("/headers"))


def test_errors_of_the_script(tmp_path: Path) -> None:
    assert explained(tmp_path, IN_SCRIPT) == [
        "ERROR: the embedded C of the script does not compile",
        "ERROR: a b.stp:2:29: 'nosuch' undeclared (first use in this function)",
        "ERROR:     int helper(void) { return nosuch; }",
        "ERROR: a b.stp:5:6: 'other' undeclared (first use in this function)",
        "ERROR:     other",
    ]


def test_errors_of_ours(tmp_path: Path) -> None:
    lines = explained(tmp_path, IN_OURS + IN_SCRIPT)
    assert lines[:4] == [
        "ERROR: the module does not compile against /headers",
        "ERROR: stap_a.c:10: unknown type name 'broken'",
        "ERROR:     broken here;",
        "ERROR:     of the handler at a b.stp:4:1",
    ]
    assert "a b.stp:2:29" in lines[4]
    assert lines[-1].startswith("ERROR: this is a fault of pystap or of the build tree")


def test_symbols_that_modules_do_not_get(tmp_path: Path) -> None:
    output = 'ERROR: modpost: "linux_banner" [/tmp/x/stap_a.ko] undefined!\n'
    assert explained(tmp_path, output) == [
        "ERROR: the embedded C of the script does not compile",
        "ERROR: the kernel does not export 'linux_banner' to modules",
    ]
    lines = explained(tmp_path, output, "int x;\n")
    assert lines[0] == "ERROR: the module does not compile against /headers"
    assert lines[-1].startswith("ERROR: this is a fault of pystap or of the build tree")


def test_errors_of_make(tmp_path: Path) -> None:
    lines = explained(tmp_path, "one\ntwo\nthree\nfour\nfive\nsix\n")
    assert lines[1:-1] == [f"ERROR: {n}" for n in ("two", "three", "four", "five", "six")]
