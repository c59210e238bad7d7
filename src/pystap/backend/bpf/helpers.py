"""Numbers of the BPF helpers and flags used (``<linux/bpf.h>``)."""

from __future__ import annotations

from pystap.typing import Final

MAP_LOOKUP: Final = 1
MAP_UPDATE: Final = 2
MAP_DELETE: Final = 3
KTIME_GET_NS: Final = 5
GET_PRANDOM_U32: Final = 7
GET_SMP_PROCESSOR_ID: Final = 8
GET_CURRENT_PID_TGID: Final = 14
GET_CURRENT_UID_GID: Final = 15
GET_CURRENT_COMM: Final = 16
GET_CURRENT_TASK: Final = 35
PROBE_WRITE_USER: Final = 36
GET_STACK: Final = 67
GET_CURRENT_CGROUP_ID: Final = 80
PERF_EVENT_READ_VALUE: Final = 55
PROBE_READ_USER: Final = 112
PROBE_READ_KERNEL: Final = 113
PROBE_READ_USER_STR: Final = 114
PROBE_READ_KERNEL_STR: Final = 115
SEND_SIGNAL_THREAD: Final = 117
JIFFIES64: Final = 118
KTIME_GET_BOOT_NS: Final = 125
RINGBUF_OUTPUT: Final = 130
RINGBUF_RESERVE: Final = 131
RINGBUF_SUBMIT: Final = 132
RINGBUF_QUERY: Final = 134
COPY_FROM_USER: Final = 148
GET_CURRENT_TASK_BTF: Final = 158
FOR_EACH_MAP_ELEM: Final = 164
TASK_PT_REGS: Final = 175
SNPRINTF: Final = 165
GET_FUNC_IP: Final = 173
GET_ATTACH_COOKIE: Final = 174
LOOP: Final = 181
GET_FUNC_ARG: Final = 183
GET_FUNC_RET: Final = 184
MAP_LOOKUP_PERCPU: Final = 195

RB_NO_WAKEUP: Final = 1
RB_FORCE_WAKEUP: Final = 2
RB_AVAIL_DATA: Final = 0
RB_RING_SIZE: Final = 1

MAX_LOOPS: Final = 1 << 23  # most rounds of one bpf_loop
NOEXIST: Final = 1  # flag of MAP_UPDATE
EEXIST: Final = -17
E2BIG: Final = -7

MAP_HASH: Final = 1
MAP_ARRAY: Final = 2
MAP_PERF_EVENT_ARRAY: Final = 4
MAP_PERCPU_HASH: Final = 5
MAP_PERCPU_ARRAY: Final = 6
MAP_HASH_OF_MAPS: Final = 13
MAP_RINGBUF: Final = 27
F_NO_PREALLOC: Final = 1 << 0
F_RDONLY_PROG: Final = 1 << 7
F_MMAPABLE: Final = 1 << 10
