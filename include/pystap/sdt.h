/* Marks in programs for tracers: process("PROGRAM").provider("P").mark("M").

   A mark is a nop and a note in the section .note.stapsdt that tells where the nop is and where
   the arguments can be found there, so it costs nothing while nobody listens.  The layout is the
   one described at
   https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation
   and is understood by SystemTap, perf, bpftrace, gdb and others, too.

     STAP_PROBE(provider, name)
     STAP_PROBE1(provider, name, a) ... STAP_PROBE6(provider, name, a, b, ...)

   Arguments are integers or pointers.  With SDT_USE_SEMAPHORES defined, each mark has a counter
   `unsigned short PROVIDER_NAME_semaphore', to be defined with STAP_SEMAPHORE(provider, name),
   that is above zero while somebody listens.  */

#ifndef PYSTAP_SDT_H
#define PYSTAP_SDT_H 1

#if !defined __x86_64__ && !defined __aarch64__
#error "pystap/sdt.h: not written for this architecture"
#endif

#define PYSTAP_TEXT_(x) #x
#define PYSTAP_TEXT(x) PYSTAP_TEXT_(x)

#ifdef SDT_USE_SEMAPHORES
#define PYSTAP_SEMAPHORE_(provider, name) PYSTAP_TEXT(provider##_##name##_semaphore)
#else
#define PYSTAP_SEMAPHORE_(provider, name) "0"
#endif

#define STAP_SEMAPHORE(provider, name)                                                        \
  __extension__ volatile unsigned short provider##_##name##_semaphore                          \
      __attribute__((used, section(".probes")))

/* Bytes of an argument, negative for signed numbers; small ones are promoted, arrays decay.  */
#define PYSTAP_SIZE(x)                                                                        \
  (__builtin_classify_type((x) + 0) == 5                                                       \
       ? (int)sizeof((x) + 0)                                                                  \
       : (int)sizeof((x) + 0) * ((__typeof__((x) + 0)) - 1 < (__typeof__((x) + 0))1 ? -1 : 1))

#define PYSTAP_ARG(n, x) [s##n] "n"(PYSTAP_SIZE(x)), [a##n] "nor"((x) + 0)
#define PYSTAP_SAY(n) "%c[s" #n "]@%[a" #n "]"

#define PYSTAP_MARK(provider, name, args, ...)                                                \
  __asm__ __volatile__("771: nop\n"                                                            \
                       "\t.pushsection .note.stapsdt,\"?\",\"note\"\n"                         \
                       "\t.balign 4\n"                                                         \
                       "\t.4byte 773f-772f, 775f-774f, 3\n"                                    \
                       "772:\t.asciz \"stapsdt\"\n"                                            \
                       "773:\t.balign 4\n"                                                     \
                       "774:\t.8byte 771b\n"                                                   \
                       "\t.8byte _.stapsdt.base\n"                                             \
                       "\t.8byte " PYSTAP_SEMAPHORE_(provider, name) "\n"                      \
                       "\t.asciz \"" #provider "\"\n"                                          \
                       "\t.asciz \"" #name "\"\n"                                              \
                       "\t.asciz \"" args "\"\n"                                               \
                       "775:\t.balign 4\n"                                                     \
                       "\t.popsection\n"                                                       \
                       ".ifndef _.stapsdt.base\n"                                              \
                       "\t.pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
                       "\t.weak _.stapsdt.base\n"                                              \
                       "\t.hidden _.stapsdt.base\n"                                            \
                       "_.stapsdt.base:\t.space 1\n"                                           \
                       "\t.size _.stapsdt.base, 1\n"                                           \
                       "\t.popsection\n"                                                       \
                       ".endif\n" ::__VA_ARGS__)

#define STAP_PROBE(p, m) PYSTAP_MARK(p, m, "", "n"(0))
#define STAP_PROBE1(p, m, a) PYSTAP_MARK(p, m, PYSTAP_SAY(1), PYSTAP_ARG(1, a))
#define STAP_PROBE2(p, m, a, b)                                                               \
  PYSTAP_MARK(p, m, PYSTAP_SAY(1) " " PYSTAP_SAY(2), PYSTAP_ARG(1, a), PYSTAP_ARG(2, b))
#define STAP_PROBE3(p, m, a, b, c)                                                            \
  PYSTAP_MARK(p, m, PYSTAP_SAY(1) " " PYSTAP_SAY(2) " " PYSTAP_SAY(3), PYSTAP_ARG(1, a),       \
              PYSTAP_ARG(2, b), PYSTAP_ARG(3, c))
#define STAP_PROBE4(p, m, a, b, c, d)                                                         \
  PYSTAP_MARK(p, m,                                                                            \
              PYSTAP_SAY(1) " " PYSTAP_SAY(2) " " PYSTAP_SAY(3) " " PYSTAP_SAY(4),             \
              PYSTAP_ARG(1, a), PYSTAP_ARG(2, b), PYSTAP_ARG(3, c), PYSTAP_ARG(4, d))
#define STAP_PROBE5(p, m, a, b, c, d, e)                                                      \
  PYSTAP_MARK(p, m,                                                                            \
              PYSTAP_SAY(1) " " PYSTAP_SAY(2) " " PYSTAP_SAY(3) " " PYSTAP_SAY(4) " "          \
              PYSTAP_SAY(5),                                                                   \
              PYSTAP_ARG(1, a), PYSTAP_ARG(2, b), PYSTAP_ARG(3, c), PYSTAP_ARG(4, d),          \
              PYSTAP_ARG(5, e))
#define STAP_PROBE6(p, m, a, b, c, d, e, f)                                                   \
  PYSTAP_MARK(p, m,                                                                            \
              PYSTAP_SAY(1) " " PYSTAP_SAY(2) " " PYSTAP_SAY(3) " " PYSTAP_SAY(4) " "          \
              PYSTAP_SAY(5) " " PYSTAP_SAY(6),                                                 \
              PYSTAP_ARG(1, a), PYSTAP_ARG(2, b), PYSTAP_ARG(3, c), PYSTAP_ARG(4, d),          \
              PYSTAP_ARG(5, e), PYSTAP_ARG(6, f))

#define DTRACE_PROBE(p, m) STAP_PROBE(p, m)
#define DTRACE_PROBE1(p, m, a) STAP_PROBE1(p, m, a)
#define DTRACE_PROBE2(p, m, a, b) STAP_PROBE2(p, m, a, b)
#define DTRACE_PROBE3(p, m, a, b, c) STAP_PROBE3(p, m, a, b, c)
#define DTRACE_PROBE4(p, m, a, b, c, d) STAP_PROBE4(p, m, a, b, c, d)
#define DTRACE_PROBE5(p, m, a, b, c, d, e) STAP_PROBE5(p, m, a, b, c, d, e)
#define DTRACE_PROBE6(p, m, a, b, c, d, e, f) STAP_PROBE6(p, m, a, b, c, d, e, f)

#endif /* PYSTAP_SDT_H */
