/* Marks in programs for tracers: process("PROGRAM").provider("P").mark("M").

   A mark is a nop and a note in the section .note.stapsdt that tells where the nop is and where
   the arguments can be found there, so it costs nothing while nobody listens.  The layout is the
   one described at
   https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation
   and is understood by SystemTap, perf, bpftrace, gdb and others, too.

     STAP_PROBE(provider, name)
     STAP_PROBE1(provider, name, a) ... STAP_PROBE12(provider, name, a, b, ...)
     STAP_PROBEV(provider, name, ...) with any number of arguments up to 12

   DTRACE_PROBE and so on are the same.

   Arguments are integers, pointers or numbers of floating point (tracers get the bits of those).
   With SDT_USE_SEMAPHORES (or _SDT_HAS_SEMAPHORES) defined, each mark has a counter
   `unsigned short PROVIDER_NAME_semaphore', to be defined with STAP_SEMAPHORE(provider, name) or
   in an object made by dtrace -G, that is above zero while somebody listens.  */

#ifndef PYSTAP_SDT_H
#define PYSTAP_SDT_H 1

#if !defined __x86_64__ && !defined __aarch64__
#error "pystap/sdt.h: not written for this architecture"
#endif

#define PYSTAP_TEXT_(x) #x
#define PYSTAP_TEXT(x) PYSTAP_TEXT_(x)

#if defined SDT_USE_SEMAPHORES || defined _SDT_HAS_SEMAPHORES
#define PYSTAP_SEMAPHORE_(provider, name) PYSTAP_TEXT(provider##_##name##_semaphore)
#else
#define PYSTAP_SEMAPHORE_(provider, name) "0"
#endif

#define STAP_SEMAPHORE(provider, name)                                                        \
  __extension__ volatile unsigned short provider##_##name##_semaphore                          \
      __attribute__((used, section(".probes")))

/* Bytes of an argument, negative for signed integers; small ones are promoted, arrays decay.
   5 is the class of pointers, 8 that of numbers of floating point.  */
#define PYSTAP_SIZE(x)                                                                        \
  (__builtin_classify_type((x) + 0) == 5 || __builtin_classify_type((x) + 0) == 8              \
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

/* The text and the operands of the first N arguments.  */
#define PYSTAP_TEXT_1 PYSTAP_SAY(1)
#define PYSTAP_TEXT_2 PYSTAP_TEXT_1 " " PYSTAP_SAY(2)
#define PYSTAP_TEXT_3 PYSTAP_TEXT_2 " " PYSTAP_SAY(3)
#define PYSTAP_TEXT_4 PYSTAP_TEXT_3 " " PYSTAP_SAY(4)
#define PYSTAP_TEXT_5 PYSTAP_TEXT_4 " " PYSTAP_SAY(5)
#define PYSTAP_TEXT_6 PYSTAP_TEXT_5 " " PYSTAP_SAY(6)
#define PYSTAP_TEXT_7 PYSTAP_TEXT_6 " " PYSTAP_SAY(7)
#define PYSTAP_TEXT_8 PYSTAP_TEXT_7 " " PYSTAP_SAY(8)
#define PYSTAP_TEXT_9 PYSTAP_TEXT_8 " " PYSTAP_SAY(9)
#define PYSTAP_TEXT_10 PYSTAP_TEXT_9 " " PYSTAP_SAY(10)
#define PYSTAP_TEXT_11 PYSTAP_TEXT_10 " " PYSTAP_SAY(11)
#define PYSTAP_TEXT_12 PYSTAP_TEXT_11 " " PYSTAP_SAY(12)
#define PYSTAP_ARGS_1(a) PYSTAP_ARG(1, a)
#define PYSTAP_ARGS_2(a, b) PYSTAP_ARGS_1(a), PYSTAP_ARG(2, b)
#define PYSTAP_ARGS_3(a, b, c) PYSTAP_ARGS_2(a, b), PYSTAP_ARG(3, c)
#define PYSTAP_ARGS_4(a, b, c, d) PYSTAP_ARGS_3(a, b, c), PYSTAP_ARG(4, d)
#define PYSTAP_ARGS_5(a, b, c, d, e) PYSTAP_ARGS_4(a, b, c, d), PYSTAP_ARG(5, e)
#define PYSTAP_ARGS_6(a, b, c, d, e, f) PYSTAP_ARGS_5(a, b, c, d, e), PYSTAP_ARG(6, f)
#define PYSTAP_ARGS_7(a, b, c, d, e, f, g) PYSTAP_ARGS_6(a, b, c, d, e, f), PYSTAP_ARG(7, g)
#define PYSTAP_ARGS_8(a, b, c, d, e, f, g, h) PYSTAP_ARGS_7(a, b, c, d, e, f, g), PYSTAP_ARG(8, h)
#define PYSTAP_ARGS_9(a, b, c, d, e, f, g, h, i)                                               \
  PYSTAP_ARGS_8(a, b, c, d, e, f, g, h), PYSTAP_ARG(9, i)
#define PYSTAP_ARGS_10(a, b, c, d, e, f, g, h, i, j)                                           \
  PYSTAP_ARGS_9(a, b, c, d, e, f, g, h, i), PYSTAP_ARG(10, j)
#define PYSTAP_ARGS_11(a, b, c, d, e, f, g, h, i, j, k)                                        \
  PYSTAP_ARGS_10(a, b, c, d, e, f, g, h, i, j), PYSTAP_ARG(11, k)
#define PYSTAP_ARGS_12(a, b, c, d, e, f, g, h, i, j, k, l)                                     \
  PYSTAP_ARGS_11(a, b, c, d, e, f, g, h, i, j, k), PYSTAP_ARG(12, l)

#define STAP_PROBE(p, m) PYSTAP_MARK(p, m, "", "n"(0))
#define STAP_PROBE1(p, m, a) PYSTAP_MARK(p, m, PYSTAP_TEXT_1, PYSTAP_ARGS_1(a))
#define STAP_PROBE2(p, m, a, b) PYSTAP_MARK(p, m, PYSTAP_TEXT_2, PYSTAP_ARGS_2(a, b))
#define STAP_PROBE3(p, m, a, b, c) PYSTAP_MARK(p, m, PYSTAP_TEXT_3, PYSTAP_ARGS_3(a, b, c))
#define STAP_PROBE4(p, m, a, b, c, d) PYSTAP_MARK(p, m, PYSTAP_TEXT_4, PYSTAP_ARGS_4(a, b, c, d))
#define STAP_PROBE5(p, m, a, b, c, d, e)                                                       \
  PYSTAP_MARK(p, m, PYSTAP_TEXT_5, PYSTAP_ARGS_5(a, b, c, d, e))
#define STAP_PROBE6(p, m, a, b, c, d, e, f)                                                    \
  PYSTAP_MARK(p, m, PYSTAP_TEXT_6, PYSTAP_ARGS_6(a, b, c, d, e, f))
#define STAP_PROBE7(p, m, a, b, c, d, e, f, g)                                                 \
  PYSTAP_MARK(p, m, PYSTAP_TEXT_7, PYSTAP_ARGS_7(a, b, c, d, e, f, g))
#define STAP_PROBE8(p, m, a, b, c, d, e, f, g, h)                                              \
  PYSTAP_MARK(p, m, PYSTAP_TEXT_8, PYSTAP_ARGS_8(a, b, c, d, e, f, g, h))
#define STAP_PROBE9(p, m, a, b, c, d, e, f, g, h, i)                                           \
  PYSTAP_MARK(p, m, PYSTAP_TEXT_9, PYSTAP_ARGS_9(a, b, c, d, e, f, g, h, i))
#define STAP_PROBE10(p, m, a, b, c, d, e, f, g, h, i, j)                                       \
  PYSTAP_MARK(p, m, PYSTAP_TEXT_10, PYSTAP_ARGS_10(a, b, c, d, e, f, g, h, i, j))
#define STAP_PROBE11(p, m, a, b, c, d, e, f, g, h, i, j, k)                                    \
  PYSTAP_MARK(p, m, PYSTAP_TEXT_11, PYSTAP_ARGS_11(a, b, c, d, e, f, g, h, i, j, k))
#define STAP_PROBE12(p, m, a, b, c, d, e, f, g, h, i, j, k, l)                                 \
  PYSTAP_MARK(p, m, PYSTAP_TEXT_12, PYSTAP_ARGS_12(a, b, c, d, e, f, g, h, i, j, k, l))

/* Any number of arguments.  */
#define PYSTAP_NAME_(n) STAP_PROBE##n
#define PYSTAP_NAME(n) PYSTAP_NAME_(n)
#define PYSTAP_COUNT_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, ...) o
#define PYSTAP_COUNT(...) PYSTAP_COUNT_(__VA_ARGS__, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, , , 0)
#define STAP_PROBEV(...) PYSTAP_NAME(PYSTAP_COUNT(__VA_ARGS__))(__VA_ARGS__)

#define DTRACE_PROBE(p, m) STAP_PROBE(p, m)
#define DTRACE_PROBE1(p, m, a) STAP_PROBE1(p, m, a)
#define DTRACE_PROBE2(p, m, a, b) STAP_PROBE2(p, m, a, b)
#define DTRACE_PROBE3(p, m, a, b, c) STAP_PROBE3(p, m, a, b, c)
#define DTRACE_PROBE4(p, m, a, b, c, d) STAP_PROBE4(p, m, a, b, c, d)
#define DTRACE_PROBE5(p, m, a, b, c, d, e) STAP_PROBE5(p, m, a, b, c, d, e)
#define DTRACE_PROBE6(p, m, a, b, c, d, e, f) STAP_PROBE6(p, m, a, b, c, d, e, f)
#define DTRACE_PROBE7(p, m, a, b, c, d, e, f, g) STAP_PROBE7(p, m, a, b, c, d, e, f, g)
#define DTRACE_PROBE8(p, m, a, b, c, d, e, f, g, h) STAP_PROBE8(p, m, a, b, c, d, e, f, g, h)
#define DTRACE_PROBE9(p, m, a, b, c, d, e, f, g, h, i) STAP_PROBE9(p, m, a, b, c, d, e, f, g, h, i)
#define DTRACE_PROBE10(p, m, a, b, c, d, e, f, g, h, i, j)                                     \
  STAP_PROBE10(p, m, a, b, c, d, e, f, g, h, i, j)
#define DTRACE_PROBE11(p, m, a, b, c, d, e, f, g, h, i, j, k)                                  \
  STAP_PROBE11(p, m, a, b, c, d, e, f, g, h, i, j, k)
#define DTRACE_PROBE12(p, m, a, b, c, d, e, f, g, h, i, j, k, l)                               \
  STAP_PROBE12(p, m, a, b, c, d, e, f, g, h, i, j, k, l)

#endif /* PYSTAP_SDT_H */
