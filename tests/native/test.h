/* What the native test programs share: failing in words, pseudo-random numbers, text. */
#ifndef FUSION_TEST_H
#define FUSION_TEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "_core/tree.h"

/* Ends the program with a message; also for memory that is out. */
#define EXPECT(condition, ...)                                        \
    do {                                                              \
        if (!(condition)) {                                           \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                             \
            fputc('\n', stderr);                                      \
            exit(1);                                                  \
        }                                                             \
    } while (0)

/* splitmix64: every state is a good one. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint32_t random_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)(random_next(state) % n);
}

static inline __attribute__((format(printf, 2, 3))) void text_print(text *t, const char *format, ...)
{
    for (size_t room = 256;;) {
        EXPECT(text_room(t, room), "no memory");
        va_list values;
        va_start(values, format);
        size_t n = (size_t)vsnprintf(t->base + t->len, room, format, values);
        va_end(values);
        if (n < room) {
            t->len += n;
            return;
        }
        room = n + 1;
    }
}

static inline void text_free(text *t)
{
    free(t->base);
    memset(t, 0, sizeof *t);
}

/* The number of rounds on the command line, or the usual one. */
static inline uint32_t rounds_wanted(int argc, char **argv, uint32_t usual)
{
    return argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : usual;
}

#endif
