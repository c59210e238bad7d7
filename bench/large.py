"""A monitoring script of 1,000 lines, 60 probes and 40 functions, put together from templates."""

from __future__ import annotations

from pathlib import Path

from bench.rows import Row
from bench.tools import STAP, first_output_ms

LINES, PROBES, FUNCTIONS = 1000, 60, 40

_CALLS = (
    "read", "write", "openat", "close", "mmap", "munmap", "brk", "futex", "poll", "ppoll",
    "fcntl", "fstatat", "lseek", "dup", "dup3", "pipe", "getdents", "rt_sigaction",
)  # fmt: skip
_TRACEPOINTS = (
    ("sched_switch", "$next->pid", "$prev->prio"),
    ("sched_wakeup", "$p->pid", "$p->prio"),
    ("sched_waking", "$p->tgid", "$p->static_prio"),
    ("sched_wakeup_new", "$p->pid", "$p->tgid"),
    ("sched_process_fork", "$child->pid", "$parent->pid"),
    ("sched_process_exit", "$p->pid", "$p->exit_code"),
    ("sched_migrate_task", "$p->pid", "$dest_cpu"),
    ("sched_stat_runtime", "$tsk->pid", "$runtime"),
    ("irq_handler_entry", "$irq", "$action->flags"),
    ("softirq_entry", "$vec_nr", "$vec_nr + 1"),
    ("signal_generate", "$sig", "$task->pid"),
    ("task_newtask", "$task->pid", "$clone_flags"),
)

_CLASSIFY = """\
function size_class_{n}:string (size:long)
{{
  if (size < {n} + 16) return "tiny"
  if (size < 512 * ({n} + 1)) return "small"
  if (size < 65536) return sprintf("medium-%d", size >> 12)
  return size > 1048576 ? "huge" : "large"
}}
"""
_SMOOTH = """\
function smooth_{n}:long (old:long, now:long)
{{
  step = (now - old) * ({n} % 15 + 1)
  if (step > 0 && step < 16 || step < 0 && step > -16) step = step > 0 ? 16 : -16
  return old + step / 16
}}
"""
_KEY = """\
function key_of_{n}:string (name:string, number:long)
{{
  if (isinstr(name, "/") || strlen(name) > {n} + 8) name = substr(name, 0, {n} + 8)
  if (number < 0) return name . ":error"
  return sprintf("%s:%d", name, number & {mask})
}}
"""
_ACCOUNT = """\
function account_{n}:long (name:string, amount:long)
{{
  events_{g}[name, {n}]++
  if (amount > peak_{g}) peak_{g} = amount
  total_{g} += amount
  if (!([tid()] in last_{g})) return 0
  return events_{g}[name, {n}]
}}
"""
_BITS = """\
function bits_{n}:long (word:long)
{{
  found = 0
  for (i = 0; i < 64 && word; i++) {{
    if (word & 1) found++
    word = (word >> 1) & 0x7fffffffffffffff
    if (found > {n} + 8) break
  }}
  return found
}}
"""
_FUNCTIONS = (_CLASSIFY, _SMOOTH, _KEY, _ACCOUNT, _BITS)

_ENTER = """\
probe syscall.{call}
{{
  if (pid() == target() || execname() == "stap{n}") next
  last_{g}[tid()] = gettimeofday_us()
  seen = account_{f}(execname(), {n})
  if (seen > 100000 && verbose) {{
    printf("%s[%d] {call}: %s\\n", execname(), tid(), argstr)
    printf("%-16s %8d %s\\n", size_class_{c}(seen), seen, key_of_{k}(execname(), seen))
  }}
  if ((words_{g}[execname()] = size_class_{c}(seen * {n})) == "huge") delete words_{g}
}}
"""
_RETURN = """\
probe syscall.{call}.return
{{
  if (!(tid() in last_{g})) next
  took = gettimeofday_us() - last_{g}[tid()]
  delete last_{g}[tid()]
  times_{g}[execname()] <<< took
  mean_{g} = smooth_{s}(mean_{g}, took)
  if (took > {n} * 1000000 && verbose)
    printf("%s {call} = %s after %d us, mean %d, %d bits\\n", execname(), retstr, took,
           mean_{g}, bits_{b}(took))
  if (retval < 0) events_{g}[execname(), retval]++
}}
"""
_TRACE = """\
probe kernel.trace("{point}")
{{
  if ((first = {first}) <= 0) next
  second = {second}
  switches_{g} <<< smooth_{s}(first, second) % 1000
  if (account_{f}(execname(), second) % 1000 == 999) {{
    name = key_of_{k}(execname(), first)
    words_{g}[name] = sprintf("%s/%d/%x", name, second, bits_{b}(first))
  }}
  if (verbose > 1)
    printf("%d %s {point} %d %d %s\\n", cpu(), execname(), first, second,
           size_class_{c}(second))
}}
"""
_TIMER = """\
probe timer.s({seconds})
{{
  printf("---- group {g}: peak %d, total %d, mean %d\\n", peak_{g}, total_{g}, mean_{g})
  foreach ([name, what] in events_{g}- limit 10)
    printf("%-16s %5d %8d %s\\n", name, what, events_{g}[name, what], size_class_{c}(what))
  foreach (name in times_{g}- limit 5)
    printf("%-16s %d times, worst %d\\n", name, @count(times_{g}[name]), @max(times_{g}[name]))
  if (@count(switches_{g})) println(@hist_linear(switches_{g}, 0, 1000, 100))
  delete events_{g}; delete times_{g}; delete words_{g}
}}
"""
_BEGIN = """\
probe begin
{{
  verbose = {verbose}
  println("first event")
}}
"""
_GROUPS = 6


def script() -> str:
    """The script; it prints one line and goes on for ever."""
    parts = ["global verbose\n"]
    for g in range(_GROUPS):
        parts.append(f"global events_{g}, times_{g}, last_{g}, words_{g}, switches_{g}\n")
        parts.append(f"global peak_{g}, total_{g}, mean_{g}\n")
    for n in range(FUNCTIONS):
        template = _FUNCTIONS[n % len(_FUNCTIONS)]
        parts.append(template.format(n=n, g=n % _GROUPS, mask=(1 << (n % 20 + 4)) - 1))
    parts.append(_BEGIN.format(verbose=0))
    for n in range(1, PROBES):
        parts.append(_probe(n))
    text = "".join(parts)
    filling = LINES - text.count("\n")
    if filling < 0:
        raise ValueError(f"the script has {-filling} lines too many")
    return text + "# as long as scripts with remarks are\n" * filling


def _probe(n: int) -> str:
    """The nth probe: half are of system calls, some of tracepoints, a few timers."""
    # Which of the eight functions of each template it calls.
    c, s, k, f, b = (5 * ((n + i) % 8) + i for i in range(5))
    names = {"n": n, "g": n % _GROUPS, "c": c, "s": s, "k": k, "f": f, "b": b}
    if n <= 2 * len(_CALLS):
        call = _CALLS[(n - 1) // 2]
        return (_ENTER if n % 2 else _RETURN).format(call=call, **names)
    n -= 2 * len(_CALLS) + 1
    if n < len(_TRACEPOINTS):
        point, first, second = _TRACEPOINTS[n]
        return _TRACE.format(point=point, first=first, second=second, **names)
    return _TIMER.format(seconds=3600 + n, **names)


def compile_time(work: Path) -> list[Row]:
    """From the command to the first event of the large script, nothing cached."""
    path = work / "large.stp"
    path.write_text(script())
    took = first_output_ms([STAP, "--disable-cache", str(path)], "first event", 3)
    return [Row("1,000 lines, 60 probes, cache off", f"{took:.0f} ms", "-", took / 1000, 2.5)]
