/* Properties of the leaves over pseudo-random bytes, the same at every level of vector instructions: numbers, paths, the strict
 * scanner, packed batches, the name search. Inputs lie at the end of blocks of exactly their size, so that the address sanitizer
 * sees a read beyond.
 *
 *   leaves [rounds] */
#include "test.h"

#include "_core/double_read.h"
#include "_core/packed.h"
#include "_core/scanner.h"
#include "_core/search.h"
#include "_core/simd.h"

static uint64_t state = 1;

/* A block that holds these bytes and no more. */
static char *exactly(const char *bytes, size_t n)
{
    char *block = malloc(n ? n : 1);
    EXPECT(block, "no memory");
    memcpy(block, bytes, n);
    return block;
}

/* ---- numbers ---- */

/* Any bits, seconds since the epoch with some decimals, whole numbers. */
static double some_double(void)
{
    uint64_t bits = random_next(&state);
    double v;
    switch (random_below(&state, 3)) {
    case 0:
        memcpy(&v, &bits, sizeof v);
        return v - v == 0.0 ? v : 0.0;
    case 1:
        return (double)(bits >> 20) / (double)(1u << random_below(&state, 31));
    default:
        return (double)(int64_t)(bits >> random_below(&state, 64));
    }
}

static void try_numbers(void)
{
    char text[DOUBLE_WRITE_MAX + 1];
    double v = some_double(), back = 0.0;
    char *end = double_write(text, v);
    *end = 0;
    EXPECT(double_read(text, end, &back) == end && memcmp(&back, &v, sizeof v) == 0, "%.17g is written as %s", v, text);
    back = strtod(text, NULL);
    EXPECT(memcmp(&back, &v, sizeof v) == 0, "%.17g is written as %s", v, text);
    int64_t n = (int64_t)random_next(&state) >> random_below(&state, 64), read = 0;
    end = int64_write(text, n);
    *end = 0;
    EXPECT(int64_read(text, end, &read) == end && read == n && strtoll(text, NULL, 10) == n, "%lld is written as %s",
           (long long)n, text);
}

/* ---- paths ---- */

static void try_paths(void)
{
    static const char alphabet[] = "//..ab\xc3\xa4";
    char path[80] = "", normal[sizeof path + 1], again[sizeof path + 2];
    size_t n = random_below(&state, sizeof path);
    for (size_t i = 0; i < n; i++)
        path[i] = i || random_below(&state, 4) == 0 ? alphabet[random_below(&state, sizeof alphabet - 1)] : '/';
    char *block = exactly(path, n);
    size_t len = path_normalise(block, n, normal);
    bool same = len == n && memcmp(normal, path, n) == 0;
    EXPECT(path_is_normal(block, n) == same, "%.*s", (int)n, path);
    EXPECT(path_is_normal(normal, len), "%.*s from %.*s", (int)len, normal, (int)n, path);
    EXPECT(path_normalise(normal, len, again) == len && memcmp(normal, again, len) == 0, "%.*s", (int)n, path);
    free(block);
}

/* ---- the scanner ---- */

static void print_string(text *body)
{
    static const char *const pieces[] = {
        "/", "/a", "/file", "..", "\\u00e4", "\\ud83c\\udf89", "\\udcff", "\\\\", "\\\"",
        "\xc3\xa4", "long-name-without-anything-special-in-it", " ", "\\n",
    };
    text_print(body, "\"/");
    for (uint32_t n = random_below(&state, 8); n; n--)
        text_print(body, "%s", pieces[random_below(&state, sizeof pieces / sizeof *pieces)]);
    text_print(body, "\"");
}

/* Rows are objects, or arrays in the order of the event's fields. */
static void print_body(text *body, uint32_t most_rows)
{
    body->len = 0;
    text_print(body,
               "{\"session_id\":\"s\",\"source_type\":\"message\",\"is_snapshot_end\":false,\"events\":[{\"event_type\":\"%s\","
               "\"fields\":[\"path\",\"size\",\"modified_time\",\"created_time\",\"is_dir\"],\"rows\":[",
               random_below(&state, 4) ? "update" : "delete");
    for (uint32_t rows = random_below(&state, most_rows + 1), i = 0; i < rows; i++) {
        const bool array = random_below(&state, 2);
        char mtime[DOUBLE_WRITE_MAX + 1];
        *double_write(mtime, some_double()) = 0;
        text_print(body, "%s%s", i ? ", " : "", array ? "[" : "{\"path\":");
        print_string(body);
        text_print(body, array ? ",%llu,%s," : ",\"size\":%llu,\"modified_time\":%s,", (unsigned long long)random_next(&state) >> 1,
                   mtime);
        if (random_below(&state, 2))
            *double_write(mtime, some_double()) = 0;
        text_print(body, array ? "%s,%s]" : "\"created_time\":%s,\"is_dir\":%s}", mtime, random_below(&state, 2) ? "true" : "false");
    }
    text_print(body, "]}]}");
}

/* Two batches of one body are the same, to the bit: what two levels made of it, or what was packed and unpacked. */
static void compare_batches(const fusion_batch *a, const fusion_batch *b, const text *body)
{
    bool same = a->n_rows == b->n_rows && a->n_events == b->n_events && a->source == b->source &&
                a->is_snapshot_end == b->is_snapshot_end;
    for (size_t i = 0; same && i < a->n_rows; i++) {
        const fusion_row *x = &a->rows[i], *y = &b->rows[i];
        same = x->path_len == y->path_len && memcmp(x->path, y->path, x->path_len) == 0 && x->size == y->size &&
               x->is_dir == y->is_dir && memcmp(&x->mtime, &y->mtime, sizeof x->mtime) == 0 &&
               memcmp(&x->ctime, &y->ctime, sizeof x->ctime) == 0 && x->is_delete == y->is_delete && x->event == y->event &&
               path_is_normal(x->path, x->path_len);
    }
    EXPECT(same, "two batches differ of %.*s", (int)body->len, body->base);
}

/* Each level's verdict on one body is that of the portable code. */
static bool scan_alike(const text *body)
{
    char *block = exactly(body->base, body->len);
    fusion_batch portable, other;
    batch_init(&portable);
    simd_choose(simd_names[SIMD_PORTABLE]);
    int verdict = scan_body(block, body->len, &portable);
    for (int level = SIMD_PORTABLE + 1; level <= (int)simd_best(); level++) {
        batch_init(&other);
        simd_choose(simd_names[level]);
        EXPECT(scan_body(block, body->len, &other) == verdict, "%s disagrees about %.*s", simd_names[level], (int)body->len,
               body->base);
        compare_batches(&portable, &other, body);
        batch_free(&other);
    }
    batch_free(&portable);
    free(block);
    return verdict == SCAN_OK;
}

static void try_scanner(text *body)
{
    print_body(body, 4);
    bool accepted = scan_alike(body);
    const size_t whole = body->len;
    if (accepted && random_below(&state, 50) == 0)
        for (body->len = 0; body->len < whole; body->len++)
            EXPECT(!scan_alike(body), "a part of a body was accepted: %.*s", (int)body->len, body->base);
    for (uint32_t changes = 1 + random_below(&state, 3); changes; changes--)
        body->base[random_below(&state, (uint32_t)whole)] = (char)random_next(&state);
    scan_alike(body);
}

/* ---- packed batches ---- */

/* Packed at one level, unpacked at each; what is damaged is refused, or packed again. */
static void try_packed(text *body)
{
    fusion_batch batch, unpacked;
    packed_parts parts;
    print_body(body, 16);
    batch_init(&batch);
    batch_init(&unpacked);
    if (scan_body(body->base, body->len, &batch) != SCAN_OK)
        return;
    EXPECT(packed_make(&parts, &batch) == PACKED_OK, "no memory");
    const size_t n = packed_bytes(&parts);
    char *packed = malloc(n);
    EXPECT(packed, "no memory");
    packed_join(&parts, packed);
    packed_free(&parts);
    for (int level = SIMD_PORTABLE; level <= (int)simd_best(); level++) {
        simd_choose(simd_names[level]);
        EXPECT(batch_unpack(packed, n, &unpacked) == PACKED_OK, "refused: %.*s", (int)body->len, body->base);
        compare_batches(&batch, &unpacked, body);
        batch_free(&unpacked);
    }
    for (uint32_t round = 0; round < 20; round++) {
        size_t left = round ? n : random_below(&state, (uint32_t)n);
        char *block = exactly(packed, left);
        for (uint32_t changes = round ? 1 + random_below(&state, 3) : 0; changes; changes--)
            block[random_below(&state, (uint32_t)left)] = (char)random_next(&state);
        int status = batch_unpack(block, left, &unpacked);
        EXPECT(status == PACKED_DAMAGED || (round && status == PACKED_OK), "status %d", status);
        if (status == PACKED_OK) {
            EXPECT(packed_make(&parts, &unpacked) == PACKED_OK, "no memory");
            packed_free(&parts);
        }
        batch_free(&unpacked);
        free(block);
    }
    free(packed);
    batch_free(&batch);
}

/* ---- the search ---- */

static size_t some_name(char *name, uint32_t most)
{
    static const char *const pieces[] = {"a",        "A",        "b",    "k", "\xe2\x84\xaa", "s", "\xc5\xbf",
                                         "\xc3\xa4", "\xc3\x84", "\xff", "."};
    size_t len = 0;
    for (uint32_t n = 1 + random_below(&state, most); n; n--) {
        const char *piece = pieces[random_below(&state, sizeof pieces / sizeof *pieces)];
        memcpy(name + len, piece, strlen(piece));
        len += strlen(piece);
    }
    return len;
}

/* A pattern's program: the characters of a short name, with a star before, after, both or neither. */
static size_t some_program(uint32_t *program)
{
    char name[16];
    size_t n = 0, len = some_name(name, 4);
    uint32_t stars = random_below(&state, 4);
    if (stars & 1)
        program[n++] = GLOB_STAR;
    for (const uint8_t *p = (const uint8_t *)name, *end = p + len; p < end; n++)
        p += glob_decode(p, end, &program[n]);
    if (stars & 2)
        program[n++] = GLOB_STAR;
    return n;
}

/* The search finds the records whose names match when asked one by one. */
static void try_search(void)
{
    text blob = {0};
    uint32_t program[16], wanted[64], n_wanted = 0;
    size_t words = some_program(program);
    search_state search;
    EXPECT(search_init(&search, (const char *)program, words * sizeof *program) == SEARCH_OK, "a program was refused");
    for (uint32_t owner = 0, names = random_below(&state, 64); owner < names; owner++) {
        char name[128];
        uint16_t len = (uint16_t)some_name(name, 30);
        bool dead = random_below(&state, 8) == 0;
        EXPECT(text_room(&blob, SEARCH_HEADER + len), "no memory");
        memcpy(blob.base + blob.len, dead ? &(uint32_t){SEARCH_DEAD} : &owner, 4);
        memcpy(blob.base + blob.len + 4, &len, 2);
        memcpy(blob.base + blob.len + SEARCH_HEADER, name, len);
        blob.len += SEARCH_HEADER + (size_t)len;
        if (!dead && search_matches(&search, name, len))
            wanted[n_wanted++] = owner;
    }
    search_free(&search);
    char *block = exactly(blob.base ? blob.base : "", blob.len);
    for (int level = SIMD_PORTABLE; level <= (int)simd_best(); level++) {
        simd_choose(simd_names[level]);
        EXPECT(search_init(&search, (const char *)program, words * sizeof *program) == SEARCH_OK, "a program was refused");
        uint32_t n = 0, owner;
        while ((owner = search_next(&search, block, blob.len, NULL)) != SEARCH_END) {
            EXPECT(n < n_wanted && owner == wanted[n], "%s: record %u of %u is %u", simd_names[level], n, n_wanted, owner);
            n++;
        }
        EXPECT(n == n_wanted, "%s: %u records instead of %u", simd_names[level], n, n_wanted);
        search_free(&search);
    }
    free(block);
    text_free(&blob);
}

int main(int argc, char **argv)
{
    const uint32_t rounds = rounds_wanted(argc, argv, 5000);
    text body = {0};
    for (uint32_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < 50; i++)
            try_numbers();
        for (uint32_t i = 0; i < 10; i++)
            try_paths();
        try_scanner(&body);
        try_packed(&body);
        try_search();
    }
    text_free(&body);
    printf("leaves: %u rounds at %d levels\n", rounds, (int)simd_best() + 1);
    return 0;
}
