"""Random scripts that end, print a lot, and mean the same on every runtime."""

from __future__ import annotations

from random import Random

_LONGS = ("0", "1", "(-1)", "2", "3", "7", "10", "(-13)", "64", "255", "4096", "(-70000)",
          "9223372036854775807", "(-9223372036854775807 - 1)")  # fmt: skip
_TEXTS = ("", "a", "b", "abc", "abd", "Hello, world", "12", "-7", "0x1f", "x" * 40,
          "caf\\351", "tab\\there", "q\\\"uote", "abcabcabc")  # fmt: skip
_FORMATS = ("%d", "%5d", "%-6d|", "%x", "%#x", "%o", "%08x", "%+d", "% d", "%u", "%c", "%.3d", "%p")
_TEXT_FORMATS = ("%s", "%8s", "%-8s|", "%.2s", "%5.1s")


class ScriptMaker:
    """Makes one script from a seed."""

    def __init__(self, seed: int) -> None:
        self.r = Random(seed)
        self.locals: tuple[list[str], list[str]] = ([], [])
        self.frozen: set[str] = set()  # arrays that a foreach goes over
        self.loops = 0
        self.counter = 0
        self.in_function = False
        self.depth = 0

    def script(self) -> str:
        """The whole script."""
        globals_ = (
            "global g0 = 3, g1, g2 = -5, t0 = \"start\", t1\n"
            "global al[40], as[40], at[40], aw%[5], sx, sa[20], sh\n"
        )
        functions = [self.function(i) for i in range(3)]
        probes = [self.probe() for _ in range(self.r.randint(1, 3))]
        return globals_ + "".join(functions) + "".join(probes)

    # ---- functions and probes

    def function(self, number: int) -> str:
        self.in_function = True
        self.locals = (["a", "l1", "l2"], ["b", "s1"])
        kind = ("long", "string", "long")[number]
        if number == 2:  # recursive
            body = self.block(2, 2)
            call = "r2(a - 1, b . \"r\")"
            tail = self.r.choice((f"return {call} + a", f"l1 = {call}\n return l1 - {call}"))
            text = (
                f"function r2:long(a:long, b:string) {{\n if (a <= 0) return strlen(b)\n"
                f" if (a > 4) a = 4\n{self.start()}{body} {tail}\n}}\n"
            )
        else:
            value = self.long(2) if kind == "long" else self.text(2)
            text = (
                f"function f{number}:{kind}(a:long, b:string) {{\n{self.start()}{self.block(3, 2)}"
                f" return {value}\n}}\n"
            )
        self.in_function = False
        return text

    def probe(self) -> str:
        self.locals = (["l0", "l1", "l2"], ["s0", "s1"])
        body = self.block(self.r.randint(4, 9), 3)
        return f"probe begin {{\n{self.start()}{body}{self.summary()}}}\n"

    def start(self) -> str:
        """First values that tell the types of all locals."""
        longs = "".join(f" {name} = {self.long(0)};" for name in self.locals[0] if name != "a")
        return longs + "".join(f" {n} = \"{n}\";" for n in self.locals[1] if n != "b") + "\n"

    def summary(self) -> str:
        return (
            ' printf("%d %d %d [%s] [%s]\\n", g0, g1, g2, t0, t1)\n'
            ' foreach (k in al) printf("al %d=%d\\n", k, al[k])\n'
            ' foreach (q in as-) printf("as %s=%d\\n", q, as[q])\n'
            ' foreach ([k, m] in at) printf("at %d,%s=%s\\n", k, m, at[k, m])\n'
            ' foreach (k in aw) printf("aw %d=%d\\n", k, aw[k])\n'
            ' foreach (k in sa+) printf("sa %d: %d %d %d\\n", k, @count(sa[k]), @sum(sa[k]),'
            " @max(sa[k]))\n"
        )

    # ---- statements

    def block(self, count: int, depth: int) -> str:
        return "".join(self.statement(depth) for _ in range(count))

    def statement(self, depth: int) -> str:
        r = self.r
        simple = (
            self.assign, self.assign, self.assign, self.print, self.print, self.sample,
            self.array_write, self.array_write, self.delete,
        )  # fmt: skip
        if depth <= 0 or r.random() < 0.55:
            return r.choice(simple)()
        return r.choice((self.if_, self.if_, self.for_, self.foreach, self.try_, self.leave))(depth)

    def assign(self) -> str:
        r = self.r
        if r.random() < 0.6:
            target = r.choice((*self.locals[0], "g0", "g1", "g2"))
            op = r.choice(("=", "=", "=", "+=", "-=", "*=", "&=", "|=", "^=", "<<=", ">>="))
            if r.random() < 0.15:
                return f" {target}{r.choice(('++', '--'))}\n"
            return f" {target} {op} {self.long(3)}\n"
        target = r.choice((*self.locals[1], "t0", "t1"))
        return f" {target} {r.choice(('=', '=', '.='))} {self.text(3)}\n"

    def print(self) -> str:
        r = self.r
        parts, args = [], []
        for _ in range(r.randint(1, 4)):
            if r.random() < 0.6:
                parts.append(r.choice(_FORMATS))
                args.append(self.long(2))
            else:
                parts.append(r.choice(_TEXT_FORMATS))
                args.append(self.text(2))
        return f' printf("{" ".join(parts)}\\n", {", ".join(args)})\n'

    def sample(self) -> str:
        r = self.r
        value = f"({self.long(2)}) % 1000"
        if self.loops and "sa" in self.frozen:
            return f" sx <<< {value}\n"
        return r.choice((f" sx <<< {value}\n", f" sh <<< {value}\n",
                         f" sa[({self.long(1)}) % 10] <<< {value}\n"))  # fmt: skip

    def array_write(self) -> str:
        r = self.r
        if self.in_function:
            return self.assign()
        name = r.choice([n for n in ("al", "as", "at", "aw") if n not in self.frozen] or ["g0"])
        if name == "g0":
            return self.assign()
        if name == "at":
            return f" at[{self.key()}, {self.text(1)}] {r.choice(('=', '.='))} {self.text(2)}\n"
        key = self.text(1) if name == "as" else self.key()
        return r.choice((f" {name}[{key}] {r.choice(('=', '+=', '-='))} {self.long(2)}\n",
                         f" {name}[{key}]++\n"))  # fmt: skip

    def delete(self) -> str:
        r = self.r
        if self.in_function or r.random() < 0.5:
            return self.print()
        name = r.choice([n for n in ("al", "as", "at") if n not in self.frozen] or ["g1"])
        if name == "g1":
            return " delete g1\n"
        if r.random() < 0.2:
            return f" delete {name}\n"
        if name == "at":
            return r.choice((f" delete at[{self.key()}, *]\n", f" delete at[*, {self.text(0)}]\n"))
        return f" delete {name}[{self.text(0) if name == 'as' else self.key()}]\n"

    def if_(self, depth: int) -> str:
        text = f" if ({self.condition(2)}) {{\n{self.block(2, depth - 1)} }}"
        if self.r.random() < 0.5:
            text += f" else {{\n{self.block(2, depth - 1)} }}"
        return text + "\n"

    def for_(self, depth: int) -> str:
        if self.loops >= 2:
            return self.if_(depth)
        self.counter += 1
        name = f"i{self.counter}"
        self.loops += 1
        body = self.block(2, depth - 1)
        if self.r.random() < 0.3:
            body += f" if ({name} == {self.r.randint(0, 3)}) {self.r.choice(('break', 'continue'))}\n"
            body += self.statement(0)
        self.loops -= 1
        return f" for ({name} = 0; {name} < {self.r.randint(0, 4)}; {name}++) {{\n{body} }}\n"

    def foreach(self, depth: int) -> str:
        r = self.r
        if self.loops >= 2:
            return self.if_(depth)
        name = r.choice(("al", "as", "at", "sa"))
        self.counter += 1
        n = self.counter
        self.loops += 1
        added = name not in self.frozen
        self.frozen.add(name)
        body = self.block(2, depth - 1)
        if added:
            self.frozen.discard(name)
        self.loops -= 1
        order = r.choice(("", "", "+", "-"))
        limit = r.choice(("", "", " limit 2", f" limit {self.long(0)} & 3"))
        if name == "at":
            keys = [f"k{n}", f"m{n}"]
            signs = [("+", ""), ("", "-"), ("", "")][r.randrange(3)] if not order else ("", "")
            where = f"at[{self.key()}, *]" if r.random() < 0.3 else "at"
            value = r.choice(("", f"v{n} = "))
            loop = f"{value}[{keys[0]}{signs[0]}, {keys[1]}{signs[1]}] in {where}{order}"
            shown = f'printf("%d %s\\n", {keys[0]}, {keys[1]})'
            if value:
                shown += f'; println(v{n})'
        elif name == "sa":
            op = r.choice(("@count", "@sum", "@min", "@max", "@avg")) if order else ""
            if op:
                op += " "
            loop = f"k{n} in sa {op}{order}"
            shown = f"println(k{n})"
        else:
            value = r.choice(("", f"v{n} = "))
            loop = f"{value}k{n} in {name}{order}"
            shown = f"println(k{n})" + (f"; println(v{n})" if value else "")
        return f" foreach ({loop}{limit}) {{\n {shown}\n{body} }}\n"

    def try_(self, depth: int) -> str:
        self.counter += 1
        name = f"e{self.counter}"
        body = self.block(2, depth - 1)
        if self.r.random() < 0.5:
            body += self.r.choice((f" error({self.text(1)})\n", f" println({self.long(1)} / 0)\n",
                                   f" g0 = {self.long(1)} % (g1 & 1)\n", " println(@avg(sx))\n"))
        caught = f" println(\"caught \", {name})\n{self.block(1, depth - 1)}"
        return f" try {{\n{body} }} catch ({name}) {{\n{caught} }}\n"

    def leave(self, depth: int) -> str:
        r = self.r
        if self.loops and r.random() < 0.6:
            return f" if ({self.condition(1)}) {r.choice(('break', 'continue'))}\n"
        if not self.in_function and r.random() < 0.3:
            return f" if ({self.condition(1)}) next\n"
        return self.if_(depth)

    # ---- expressions

    def key(self) -> str:
        return f"({self.long(1)}) % 12"

    def condition(self, depth: int) -> str:
        r = self.r
        if depth > 0 and r.random() < 0.3:
            op = r.choice(("&&", "||"))
            return f"({self.condition(depth - 1)} {op} {self.condition(depth - 1)})"
        op = r.choice(("<", "<=", ">", ">=", "==", "!="))
        if r.random() < 0.6:
            return f"({self.long(depth)} {op} {self.long(depth)})"
        if r.random() < 0.3:
            return f"({self.key()} in al)"
        return f"({self.text(depth)} {op} {self.text(depth)})"

    def long(self, depth: int) -> str:
        r = self.r
        if depth <= 0 or r.random() < 0.3:
            return r.choice((*_LONGS, *self.locals[0], *self.locals[0], "g0", "g1", "g2"))
        made = r.randrange(12)
        if made < 4:
            op = r.choice(("+", "-", "*", "&", "|", "^", "<<", ">>", ">>>"))
            return f"({self.long(depth - 1)} {op} {self.long(depth - 1)})"
        if made == 4:
            return f"({self.long(depth - 1)} {r.choice('/%')} ({self.long(depth - 1)} | 1))"
        if made == 5:
            return f"({r.choice(('-', '~', '!'))}{self.long(depth - 1)})"
        if made == 6:
            return f"({self.condition(depth - 1)} ? {self.long(depth - 1)} : {self.long(depth - 1)})"
        if made == 7:
            return r.choice((f"strlen({self.text(depth - 1)})", f"strtol({self.text(depth - 1)}, 10)"))
        if made == 8:
            return r.choice((f"al[{self.key()}]", f"as[{self.text(0)}]", f"aw[{self.key()}]"))
        if made == 9:
            return r.choice(("@count(sx)", "@sum(sx)", f"@count(sa[{self.key()}])"))
        if self.in_function:
            return self.condition(depth - 1)
        if made == 10:
            return f"f0({self.long(depth - 1)}, {self.text(depth - 1)})"
        return f"r2({self.long(depth - 1)} & 7, {self.text(depth - 1)})"

    def text(self, depth: int) -> str:
        r = self.r
        if depth <= 0 or r.random() < 0.35:
            literals = [f'"{t}"' for t in _TEXTS]
            return r.choice((*literals, *self.locals[1] * 4, "t0", "t1"))
        made = r.randrange(7)
        if made < 2:
            return f"({self.text(depth - 1)} . {self.text(depth - 1)})"
        if made == 2:
            return f"({self.condition(depth - 1)} ? {self.text(depth - 1)} : {self.text(depth - 1)})"
        if made == 3:
            return f"substr({self.text(depth - 1)}, {self.long(0)} & 7, {self.long(0)} & 15)"
        if made == 4:
            return f'sprintf("{r.choice(_FORMATS)}-{r.choice(_TEXT_FORMATS)}", {self.long(depth - 1)}, {self.text(depth - 1)})'
        if made == 5:
            return f"at[{self.key()}, {self.text(0)}]"
        if self.in_function:
            return f"sprint({self.long(depth - 1)})"
        return f"f1({self.long(depth - 1)}, {self.text(depth - 1)})"
