/* Which vector instructions the engine uses: chosen once, when the module is loaded. Every vector path has a portable twin that gives
 * the same bytes, and FUSION_SIMD chooses it. */
#ifndef FUSION_SIMD_H
#define FUSION_SIMD_H

#include <stdlib.h>
#include <string.h>

typedef enum {
    SIMD_PORTABLE = 0,
    SIMD_SSE2 = 1,   /* every x86-64 has it */
    SIMD_AVX2 = 2,   /* and BMI1, BMI2 */
    SIMD_AVX512 = 3, /* F, BW, DQ, VL, VBMI and IFMA */
} simd_level;

static const char *const simd_names[] = {"portable", "sse2", "avx2", "avx512"};

#if defined(__x86_64__)
#define SIMD_TARGET_AVX2 __attribute__((target("avx2,bmi,bmi2"))) /* of a function that needs that level */
#endif

/* The most that this processor has. */
static inline simd_level simd_best(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
        return SIMD_SSE2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512ifma"))
        return SIMD_AVX512;
    return SIMD_AVX2;
#else
    return SIMD_PORTABLE;
#endif
}

static simd_level simd_in_use = SIMD_PORTABLE; /* set by simd_choose, before anything else of the engine runs */

/* Takes the level of that name, or the best one when it is NULL, unknown or beyond this processor. */
static inline simd_level simd_choose(const char *name)
{
    simd_in_use = simd_best();
    for (int level = SIMD_PORTABLE; name && level < (int)simd_in_use; level++)
        if (strcmp(name, simd_names[level]) == 0)
            simd_in_use = (simd_level)level;
    return simd_in_use;
}

#endif
