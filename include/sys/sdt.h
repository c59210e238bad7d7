/* Marks in programs by the names that programs use for them: see <pystap/sdt.h>.  */

#ifndef _SYS_SDT_H
#define _SYS_SDT_H 1

#include <pystap/sdt.h>

#endif /* _SYS_SDT_H */
