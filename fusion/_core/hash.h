/* The path hash: a seeded 64-bit multiply-mix, chained over a path's components.
 *
 * Both factors of every product hold the seed: bytes that make a factor zero, and so take the other one out of the hash, cannot
 * be chosen without knowing it. hash("/") is the index's random seed, hash(dir + "/" + name) = name_hash(name, hash(dir)). A directory's hash is thus the
 * seed of its children, and a subtree can be hashed without its path. */
#ifndef FUSION_HASH_H
#define FUSION_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint64_t hash_load4(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#define HASH_K1 UINT64_C(0x9e3779b97f4a7c15)
#define HASH_K2 UINT64_C(0xd6e8feb86659fd93)

static inline uint64_t name_hash(const char *p, size_t n, uint64_t seed)
{
    uint64_t a, b, other;
    size_t rest = n;
    while (rest > 16) {
        other = (seed << 32 | seed >> 32) ^ HASH_K1;
        seed = hash_mix(hash_load8(p) ^ seed, hash_load8(p + 8) ^ other);
        p += 16;
        rest -= 16;
    }
    if (rest >= 8) {
        a = hash_load8(p);
        b = hash_load8(p + rest - 8);
    } else if (rest >= 4) {
        a = hash_load4(p);
        b = hash_load4(p + rest - 4);
    } else if (rest) {
        a = (uint64_t)(uint8_t)p[0] << 16 | (uint64_t)(uint8_t)p[rest >> 1] << 8 | (uint8_t)p[rest - 1];
        b = 0;
    } else {
        a = b = 0;
    }
    other = (seed << 32 | seed >> 32) ^ HASH_K1;
    return hash_mix(HASH_K2 ^ n, hash_mix(a ^ seed, b ^ other));
}

/* The chained hash of a normalised absolute path; mask is all ones but in tests that force collisions. */
static inline uint64_t path_hash(const char *path, size_t n, uint64_t seed, uint64_t mask)
{
    uint64_t hash = seed;
    const char *p = path + 1, *end = path + n;
    while (p < end) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        const char *stop = slash ? slash : end;
        hash = name_hash(p, (size_t)(stop - p), hash) & mask;
        p = stop + 1;
    }
    return hash;
}

#endif
