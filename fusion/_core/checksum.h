/* A 64-bit checksum of long byte strings, fed piece by piece: tells damage, not malice. Four independent multiply-mix lanes keep the
 * multiplier busy; each piece's length goes in, so that pieces cannot trade bytes. */
#ifndef FUSION_CHECKSUM_H
#define FUSION_CHECKSUM_H

#include "hash.h"

/* The checksum so far, continued over n more bytes. */
static inline uint64_t checksum(uint64_t sum, const char *p, size_t n)
{
    uint64_t a = sum ^ HASH_K1, b = sum ^ HASH_K2, c = sum ^ ~HASH_K1, d = sum ^ ~HASH_K2; /* factors 0 and ~0 would drop the other one */
    size_t rest = n;
    for (; rest >= 64; rest -= 64, p += 64) {
        a = hash_mix(hash_load8(p) ^ a, hash_load8(p + 8) ^ HASH_K1);
        b = hash_mix(hash_load8(p + 16) ^ b, hash_load8(p + 24) ^ HASH_K2);
        c = hash_mix(hash_load8(p + 32) ^ c, hash_load8(p + 40) ^ ~HASH_K1);
        d = hash_mix(hash_load8(p + 48) ^ d, hash_load8(p + 56) ^ ~HASH_K2);
    }
    char tail[64] = {0};
    memcpy(tail, p, rest);
    for (size_t i = 0; i < 64; i += 16)
        a = hash_mix(hash_load8(tail + i) ^ a, hash_load8(tail + i + 8) ^ HASH_K1);
    return hash_mix(a ^ HASH_K2, b + n) ^ hash_mix(c ^ HASH_K1, d);
}

#endif
