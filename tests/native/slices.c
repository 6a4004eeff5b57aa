/* A search, the largest files and columns of files that are begun at one instant and go on, a slice at a time, while the index
 * changes, answer what they answer when nothing changes. Best compiled with FUSION_SMALL_BLOCKS.
 *
 *   slices [rounds] */
#include "changes.h"

#include "_core/check.h"
#include "_core/find.h"
#include "_core/gather.h"
#include "_core/largest.h"

#define MOST_ITEMS 8

typedef struct {
    find_way way;
    bool by_walk;
    uint32_t names[MOST_ITEMS], paths[MOST_ITEMS]; /* until a zero */
} pattern;

static const pattern patterns[] = {
    {FIND_NAMES, false, {GLOB_STAR, 'A', GLOB_STAR}, {0}},
    {FIND_NAMES, false, {GLOB_STAR}, {0}},
    {FIND_NAMES, false, {GLOB_STAR, 'n', GLOB_STAR, 'e', GLOB_STAR}, {0}},
    {FIND_NAMES, false, {GLOB_ANY}, {0}},
    {FIND_NAMES, false, {'0', GLOB_STAR}, {0}},
    {FIND_SPREAD, false, {GLOB_STAR, 'a', GLOB_STAR}, {GLOB_STAR, 'a', GLOB_STAR}},
    {FIND_SPREAD, false, {'b', GLOB_STAR}, {GLOB_STAR, '/', 'b', GLOB_STAR}},
    {FIND_BELOW, false, {GLOB_STAR, 'c'}, {GLOB_STAR, 'c', '/', GLOB_STAR}},
    {FIND_PATHS, false, {GLOB_STAR, 'e', 'r'}, {GLOB_STAR, '/', 'a', GLOB_STAR, 'e', 'r'}},
    {FIND_PATHS, true, {0}, {GLOB_STAR, GLOB_ANY, 'b', GLOB_STAR}},
};
static const char *const tops[] = {"/", "/", "/", "/a", "/b/c", "/longer/d", "/c/a/b/d"};

typedef struct {
    const pattern *pattern;
    const char *top;
    uint32_t kinds;
    find_sort sort;
    bool descending, stays; /* nothing changes meanwhile */
    uint64_t limit;
    int64_t min_size;
} question;

static question random_question(void)
{
    question q = {.pattern = &patterns[random_below(&state, sizeof patterns / sizeof *patterns)],
                  .top = tops[random_below(&state, sizeof tops / sizeof *tops)], .kinds = random_below(&state, 3),
                  .sort = random_below(&state, 5), .descending = random_below(&state, 2), .limit = UINT64_MAX,
                  .min_size = random_below(&state, 3) ? 0 : 50};
    if (q.pattern->way != FIND_NAMES && q.sort == FIND_UNSORTED)
        q.sort = FIND_BY_PATH; /* the order of subtrees is the slices' */
    if (random_below(&state, 2))
        q.limit = 1 + random_below(&state, 9);
    return q;
}

static size_t items(const uint32_t *program)
{
    size_t n = 0;
    while (n < MOST_ITEMS && program[n])
        n++;
    return n;
}

static void meanwhile(fusion_index *ix, text *body, bool stays)
{
    for (uint32_t changes = stays ? 0 : random_below(&state, 3); changes; changes--)
        change(ix, body);
}

/* The answer as text; the tree may change between its slices. */
static text search(fusion_index *ix, text *body, const question *q)
{
    finder f;
    text out = {0};
    find_status status;
    find_init(&f);
    f.way = q->pattern->way;
    f.by_walk = q->pattern->by_walk;
    f.files = q->kinds != 1;
    f.directories = q->kinds != 0;
    f.min_size = q->min_size;
    f.top_path = strdup(q->top);
    f.top_path_len = strlen(q->top);
    find_set_order(&f, q->sort, q->descending, q->limit);
    bool ok = true;
    if (f.way != FIND_NAMES)
        ok = glob_init(&f.paths, (const char *)q->pattern->paths, 4 * items(q->pattern->paths)) == GLOB_OK;
    if (!f.by_walk)
        ok &= search_init(&f.names, (const char *)q->pattern->names, 4 * items(q->pattern->names)) == SEARCH_OK;
    EXPECT(ok && f.top_path, "no memory");
    /* a deadline long past: one slice at a time */
    while ((status = find_collect(&f, ix, true, INT64_MIN)) == FIND_LATE)
        meanwhile(ix, body, q->stays);
    EXPECT(status == FIND_OK || status == FIND_UNKNOWN, "status %d", (int)status);
    text_print(&out, "%d %llu matches, %llu later, revision %llu: ", (int)status, (unsigned long long)f.total,
               (unsigned long long)f.later, (unsigned long long)f.revision);
    EXPECT(text_room(&out, 1 << 20), "no memory");
    for (status = status == FIND_OK ? FIND_MORE : FIND_OK; status == FIND_MORE;) {
        meanwhile(ix, body, q->stays);
        text piece = {.base = out.base + out.len, .cap = f.wanted + 200};
        EXPECT(out.len + piece.cap < out.cap, "an answer of more than %zu bytes", out.len);
        status = find_write(&f, &piece, true);
        out.len += piece.len;
    }
    EXPECT(status == FIND_OK, "status %d", (int)status);
    find_close(&f);
    return out;
}

static text sums(fusion_index *ix, text *body, const question *q)
{
    largest l;
    largest_status status;
    text out = {0};
    largest_init(&l, q->limit < 9 ? (size_t)q->limit : 100);
    while ((status = largest_step(&l, ix, q->top, strlen(q->top))) == LARGEST_MORE)
        meanwhile(ix, body, q->stays);
    EXPECT(status == LARGEST_OK || status == LARGEST_UNKNOWN, "status %d", (int)status);
    for (size_t i = 0; status == LARGEST_OK && i < l.children.n + l.files.n; i++) {
        const ranked *item = i < l.children.n ? &l.children.items[i] : &l.files.items[i - l.children.n];
        const largest_entry *e = &l.entries[i];
        text_print(&out, "%.*s: %lld %g %llu %u %u\n", (int)item->path_len, item->path, (long long)e->node.size, e->node.mtime,
                   (unsigned long long)e->bytes_lo, e->files, e->dirs);
    }
    largest_close(&l);
    return out;
}

static text columns(fusion_index *ix, text *body, const question *q)
{
    gather g;
    text out = {0};
    gather_status status = gather_begin(&g, ix, q->top, strlen(q->top));
    EXPECT(status == GATHER_OK || status == GATHER_UNKNOWN, "status %d", (int)status);
    while (status == GATHER_OK && g.next != NIL) {
        int64_t sizes[5];
        double times[5];
        size_t n;
        meanwhile(ix, body, q->stays);
        EXPECT(gather_next(&g, sizes, times, 5, &n) == GATHER_OK, "no memory");
        EXPECT(n == 5 || g.next == NIL, "%zu files before the end", n);
        for (size_t i = 0; i < n; i++)
            text_print(&out, "%lld %g\n", (long long)sizes[i], times[i]);
    }
    if (status == GATHER_OK)
        gather_close(&g);
    return out;
}

static void compare(fusion_index *ix, text *body, question *q, text (*answer)(fusion_index *, text *, const question *))
{
    char why[256];
    q->stays = true;
    text expected = answer(ix, body, q);
    q->stays = false;
    text found = answer(ix, body, q);
    EXPECT(found.len == expected.len && (!found.len || memcmp(found.base, expected.base, found.len) == 0), "%.*s\ninstead of\n%.*s",
           (int)found.len, found.base, (int)expected.len, expected.base);
    EXPECT(index_check(ix, why, sizeof why), "%s", why);
    EXPECT(!views_bytes(&ix->views), "images outlive their view");
    text_free(&expected);
    text_free(&found);
}

int main(int argc, char **argv)
{
    const uint32_t rounds = rounds_wanted(argc, argv, 3000);
    fusion_index ix;
    text body = {0};
    EXPECT(index_init(&ix, 1, UINT64_MAX), "no address space");
    for (uint32_t i = 0; i < rounds; i++) {
        question q = random_question();
        for (uint32_t changes = random_below(&state, 20); changes; changes--)
            change(&ix, &body);
        compare(&ix, &body, &q, search);
        compare(&ix, &body, &q, sums);
        compare(&ix, &body, &q, columns);
    }
    printf("slices: %u answers of each kind\n", rounds);
    index_release(&ix);
    text_free(&body);
    return 0;
}
