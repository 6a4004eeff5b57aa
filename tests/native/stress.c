/* Readers of every kind beside one writer, on the engine's headers alone: for the thread sanitizer, which then sees every access,
 * and for processors without a Python at hand.
 *
 * All files below /d have the number of the batch that wrote them last as size and times. What is read under one lock has one
 * number, or it is a mixture of two batches.
 *
 *   stress [batches] */
#include <stdatomic.h>

#include "test.h"

#include "_core/apply.h"
#include "_core/check.h"
#include "_core/find.h"
#include "_core/gather.h"
#include "_core/largest.h"
#include "_core/pages.h"
#include "_core/saved.h"
#include "_core/scanner.h"
#include "_core/simd.h"

#define FILES 400u
#define CHURN 150u /* long names that come in one batch and go in the next, so that the arena is compacted */

/* ---- the writer ---- */

static void print_file(text *body, const char *path, uint32_t number)
{
    text_print(body, "{\"path\":\"%s\",\"size\":%u,\"modified_time\":%u.0,\"created_time\":%u.0,\"is_dir\":false},", path, number,
               number, number);
}

/* The body of a batch: an update in place, a delete with new files after it, or a whole snapshot. */
static void print_batch(text *body, uint32_t number)
{
    bool snapshot = number % 3 == 0, recreate = number % 3 == 1;
    char path[512];
    body->len = 0;
    text_print(body, "{\"session_id\":\"s\",\"source_type\":\"%s\",\"is_snapshot_end\":%s,\"events\":[",
               snapshot ? "snapshot" : "message", snapshot ? "true" : "false");
    if (!snapshot)
        text_print(body, "{\"event_type\":\"delete\",\"rows\":[{\"path\":\"/churn\"}%s]},", recreate ? ",{\"path\":\"/d\"}" : "");
    text_print(body, "{\"event_type\":\"update\",\"rows\":[");
    for (uint32_t i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "/d/s%u/f%u", i % 7, i);
        print_file(body, path, number);
    }
    for (uint32_t i = 0; i < CHURN; i++) {
        snprintf(path, sizeof path, "/churn/%0*u", (int)(100 + number % 80), i);
        print_file(body, path, number);
    }
    text_print(body, "{\"path\":\"/d\",\"size\":%u,\"modified_time\":%u.0,\"created_time\":%u.0,\"is_dir\":true}]}]}", number,
               number, number);
}

static void apply(fusion_index *ix, text *body, uint32_t number)
{
    fusion_batch batch;
    apply_result result;
    print_batch(body, number);
    batch_init(&batch);
    EXPECT(scan_body(body->base, body->len, &batch) == SCAN_OK, "batch %u was declined", number);
    rows_prepare(&batch, ix->seed, ix->mask);
    pthread_rwlock_wrlock(&ix->lock);
    apply_status status = index_apply(ix, &batch, number - 0.5, &result);
    region_ahead ahead = index_plan(ix);
    pthread_rwlock_unlock(&ix->lock);
    region_back(ahead);
    EXPECT(status == APPLY_OK && !result.ignored, "batch %u: status %d, %d rows ignored", number, (int)status,
           (int)result.ignored);
    batch_free(&batch);
}

/* ---- the readers: each takes the lock, reads, gives it back, and judges what it read ---- */

static uint32_t find(const fusion_index *ix, const char *path)
{
    return find_path(ix, path, strlen(path));
}

static void read_nodes(fusion_index *ix)
{
    fusion_node first, last;
    pthread_rwlock_rdlock(&ix->lock);
    uint32_t id = find(ix, "/d/s3/f3"), other = find(ix, "/d/s6/f398"), none = find(ix, "/d/s3/f4");
    first = ix->nodes[id == NIL ? ROOT : id];
    last = ix->nodes[other == NIL ? ROOT : other];
    pthread_rwlock_unlock(&ix->lock);
    EXPECT(id != NIL && other != NIL && none == NIL, "found %u, %u and %u", id, other, none);
    EXPECT(first.size == last.size && (double)first.size == first.mtime && first.mtime == last.ctime,
           "two batches in one answer");
}

static void read_stats(fusion_index *ix)
{
    fusion_dir sums = {0};
    pthread_rwlock_rdlock(&ix->lock);
    uint32_t id = find(ix, "/d");
    if (id != NIL)
        sums = *dir_of(ix, id);
    uint64_t revision = ix->revision;
    pthread_rwlock_unlock(&ix->lock);
    EXPECT(id != NIL && sums.files == FILES && sums.dirs == 7, "%u files, %u directories", sums.files, sums.dirs);
    EXPECT(sums.bytes_lo % FILES == 0 && sums.version <= revision, "two batches in one answer");
}

static void read_oldest(fusion_index *ix)
{
    pthread_rwlock_rdlock(&ix->lock);
    uint32_t oldest = index_oldest(ix), id = find(ix, "/d");
    pthread_rwlock_unlock(&ix->lock);
    EXPECT(oldest == id, "the oldest directory is %u, not %u", oldest, id);
}

static void read_search(fusion_index *ix)
{
    static const uint32_t program[] = {'F', GLOB_STAR}; /* f*, case ignored */
    search_state search;
    uint32_t found = 0;
    int64_t least = INT64_MAX, most = -1;
    pthread_rwlock_rdlock(&ix->lock);
    int status = search_init(&search, (const char *)program, sizeof program);
    for (;;) {
        uint32_t id = search_next(&search, ix->names.blob.base, ix->names.used, (const uint32_t *)ix->names.sync.base);
        if (id == SEARCH_END)
            break;
        int64_t size = ix->nodes[id].size;
        least = size < least ? size : least;
        most = size > most ? size : most;
        found++;
    }
    pthread_rwlock_unlock(&ix->lock);
    search_free(&search);
    EXPECT(status == SEARCH_OK && found == FILES && least == most, "%u files found, sizes from %lld to %lld", found,
           (long long)least, (long long)most);
}

/* A tree's text holds every file with one and the same size. */
static void judge_tree(text *tree)
{
    static const char file[] = "\"content_type\":\"file\"", size[] = "\"size\":";
    uint32_t files = 0;
    int64_t first = -1;
    EXPECT(text_room(tree, 1), "no memory");
    tree->base[tree->len] = 0;
    for (const char *p = tree->base; (p = strstr(p, file)); files++) {
        int64_t value = -1;
        p = strstr(p, size);
        EXPECT(p && int64_read(p + strlen(size), tree->base + tree->len, &value), "a file without a size");
        first = files ? first : value;
        EXPECT(value == first, "sizes %lld and %lld in one tree", (long long)first, (long long)value);
    }
    EXPECT(files == FILES, "%u files in a tree", files);
}

/* One lock per slice, one instant for all of them: the same answers from a scan, from a walk and from records. */
static void read_find(fusion_index *ix, const char *top, find_sort sort)
{
    static const uint32_t program[] = {'F', GLOB_STAR};
    finder f;
    text out = {0};
    find_init(&f);
    f.files = true;
    f.top_path = strdup(top);
    f.top_path_len = strlen(top);
    find_set_order(&f, sort, false, UINT64_MAX);
    EXPECT(f.top_path && search_init(&f.names, (const char *)program, sizeof program) == SEARCH_OK, "no memory");
    EXPECT(find_collect(&f, ix, true, INT64_MAX) == FIND_OK, "not found");
    find_status status;
    do {
        EXPECT(text_room(&out, f.wanted + (16 << 10)), "no memory");
        status = find_write(&f, &out, true);
    } while (status == FIND_MORE);
    EXPECT(status == FIND_OK && f.total == FILES, "%llu files found", (unsigned long long)f.total);
    find_close(&f);
    judge_tree(&out);
    text_free(&out);
}

static void read_find_all(fusion_index *ix)
{
    read_find(ix, "/", FIND_UNSORTED);
}

static void read_find_below(fusion_index *ix)
{
    read_find(ix, "/d", FIND_BY_PATH);
}

static void read_largest(fusion_index *ix)
{
    largest l;
    largest_status status;
    largest_init(&l, FILES);
    while ((status = largest_step(&l, ix, "/d", 2)) == LARGEST_MORE)
        ;
    EXPECT(status == LARGEST_OK && l.files.n == FILES && l.children.n == 7, "%zu files, %zu children", l.files.n, l.children.n);
    EXPECT(l.files.items[0].key == l.files.items[FILES - 1].key, "two batches in one answer");
    largest_close(&l);
}

static void read_columns(fusion_index *ix)
{
    gather g;
    int64_t sizes[150];
    double times[150];
    uint32_t files = 0;
    int64_t first = -1;
    EXPECT(gather_begin(&g, ix, "/d", 2) == GATHER_OK, "no memory");
    while (g.next != NIL) {
        size_t n;
        EXPECT(gather_next(&g, sizes, times, 150, &n) == GATHER_OK, "no memory");
        for (size_t i = 0; i < n; i++, files++) {
            first = files ? first : sizes[i];
            EXPECT(sizes[i] == first && times[i] == (double)first, "two batches in one answer");
        }
    }
    gather_close(&g);
    EXPECT(files == FILES, "%u files", files);
}

static void read_tree(fusion_index *ix)
{
    tree_cursor cursor = {0};
    text out = {0};
    pthread_rwlock_rdlock(&ix->lock);
    bool ok = tree_open(&cursor, ix, find(ix, "/d"), tree_shape_of(true, NIL, FIELDS_ALL, false)) && tree_write_all(&cursor, &out) == TREE_OK;
    pthread_rwlock_unlock(&ix->lock);
    tree_close(&cursor);
    EXPECT(ok, "no memory");
    judge_tree(&out);
    text_free(&out);
}

/* One lock per piece, one instant for all of them. */
static void read_tree_pieces(fusion_index *ix)
{
    tree_cursor cursor = {0};
    text out = {0};
    EXPECT(text_room(&out, 1 << 20), "no memory");
    pthread_rwlock_rdlock(&ix->lock);
    bool ok = tree_open(&cursor, ix, find(ix, "/d"), tree_shape_of(true, NIL, FIELDS_ALL, false)) && tree_keep(&cursor);
    pthread_rwlock_unlock(&ix->lock);
    EXPECT(ok, "no memory");
    for (tree_status status = TREE_FULL; status == TREE_FULL;) {
        text piece = {.base = out.base + out.len, .cap = 16 << 10};
        EXPECT(out.len + piece.cap < out.cap, "a tree of more than %zu bytes", out.len);
        pthread_rwlock_rdlock(&ix->lock);
        ok = tree_resume(&cursor);
        if (ok)
            status = tree_write(&cursor, &piece);
        pthread_rwlock_unlock(&ix->lock);
        EXPECT(ok && status != TREE_NO_MEMORY, "no memory");
        out.len += piece.len;
    }
    tree_close(&cursor);
    judge_tree(&out);
    text_free(&out);
}

/* All lines of the tree, a few at a time: the writer keeps the files or makes all of them anew, and then the cursor is lost. */
static void read_pages(fusion_index *ix)
{
    static atomic_uint calls;
    uint64_t state = atomic_fetch_add(&calls, 1), lines = 0;
    page_cursor here, next;
    tree_cursor tree = {0};
    text out = {0};
    bool begun = false, more = true;
    for (; more; begun = true, here = next) {
        const page_request request = {.instance = 7, .path = "/d", .path_len = 2, .shape = tree_shape_of(true, NIL, FIELDS_ALL, true),
                                      .limit = 1 + random_below(&state, 100)};
        out.len = 0;
        pthread_rwlock_rdlock(&ix->lock);
        uint32_t top = find(ix, "/d");
        bool ok = tree_open(&tree, ix, top, request.shape);
        page_status status = ok ? page_open(&tree, top, &request, begun ? &here : NULL, &next) : PAGE_NO_MEMORY;
        if (status == PAGE_OK)
            ok = tree_write_all(&tree, &out) == TREE_OK;
        more = tree.stop != NIL;
        pthread_rwlock_unlock(&ix->lock);
        lines += tree.nodes;
        tree_end(&tree);
        EXPECT(ok && (status == PAGE_OK || (status == PAGE_EXPIRED && begun)), "status %d of a page", (int)status);
        if (status == PAGE_EXPIRED)
            break;
        EXPECT(more || lines == FILES + 8, "%u lines", (uint32_t)lines);
    }
    tree_close(&tree);
    text_free(&out);
}

/* What is saved beside the writer is sound, and of one instant. */
static void save_and_load(fusion_index *ix)
{
    char name[] = "/tmp/fusion-stress-XXXXXX", why[256];
    const char *reason = "";
    saved_header header;
    saved_writer writer = {0};
    fusion_index *loaded = malloc(sizeof *loaded);
    int fd = mkstemp(name);
    EXPECT(loaded && fd >= 0 && unlink(name) == 0, "no file");
    pthread_rwlock_rdlock(&ix->lock);
    bool begun = saved_begin(&writer, ix, "note", 4);
    pthread_rwlock_unlock(&ix->lock);
    EXPECT(begun && saved_open(&writer, fd, true) == SAVED_OK, "not begun");
    while (!writer.done)
        EXPECT(saved_write_step(&writer) == SAVED_OK, "not saved");
    saved_end(&writer);
    EXPECT(saved_verify(fd, &reason) == SAVED_OK, "%s", reason);
    EXPECT(saved_read_header(fd, &header, &reason) == SAVED_OK, "%s", reason);
    EXPECT(index_init(loaded, header.seed, header.mask), "no memory");
    EXPECT(index_load(loaded, fd, &header, &reason) == SAVED_OK, "%s", reason);
    close(fd);
    EXPECT(index_check(loaded, why, sizeof why), "%s", why);
    read_tree(loaded);
    index_release(loaded);
    free(loaded);
}

/* Views that overlap, closed in any order while others are opened, closed and read: what is left over is seen at the end. */
static void open_and_close(fusion_index *ix)
{
    static atomic_uint calls;
    uint64_t state = atomic_fetch_add(&calls, 1);
    fusion_instant open[4];
    for (uint32_t round = 0; round < 16; round++) {
        uint32_t i = round < 4 ? round : random_below(&state, 4);
        if (round >= 4)
            instant_close(&open[i]);
        instant_init(&open[i], ix);
        pthread_rwlock_rdlock(&ix->lock);
        bool opened = instant_open(&open[i], random_below(&state, 2));
        pthread_rwlock_unlock(&ix->lock);
        EXPECT(opened, "no memory");
    }
    for (uint32_t i = 0; i < 4; i++)
        instant_close(&open[i]);
}

static void check(fusion_index *ix)
{
    char why[256];
    pthread_rwlock_rdlock(&ix->lock);
    bool sound = index_check(ix, why, sizeof why);
    pthread_rwlock_unlock(&ix->lock);
    EXPECT(sound, "%s", why);
}

static void (*const readers[])(fusion_index *) = {
    read_nodes, read_stats, read_oldest, read_search, read_find_all, read_find_below, read_largest, read_columns, read_tree,
    read_tree_pieces, read_pages, read_pages, save_and_load, save_and_load, open_and_close, open_and_close, check,
};
#define READERS (sizeof readers / sizeof *readers)

/* ---- all together ---- */

static atomic_bool written;

typedef struct {
    fusion_index *ix;
    void (*read)(fusion_index *);
    uint64_t reads;
} reader;

static void *run_reader(void *argument)
{
    reader *r = argument;
    do {
        r->read(r->ix);
        r->reads++;
    } while (!atomic_load(&written));
    return NULL;
}

int main(int argc, char **argv)
{
    const uint32_t batches = rounds_wanted(argc, argv, 150);
    fusion_index ix;
    text body = {0};
    reader all[READERS];
    pthread_t threads[READERS];
    simd_choose(getenv("FUSION_SIMD"));
    EXPECT(index_init(&ix, 1, UINT64_MAX), "no address space");
    apply(&ix, &body, 1);
    for (size_t i = 0; i < READERS; i++) {
        all[i] = (reader){.ix = &ix, .read = readers[i]};
        EXPECT(pthread_create(&threads[i], NULL, run_reader, &all[i]) == 0, "no thread");
    }
    for (uint32_t number = 2; number < 2 + batches; number++)
        apply(&ix, &body, number);
    atomic_store(&written, true);
    uint64_t reads = 0;
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        reads += all[i].reads;
    }
    check(&ix);
    EXPECT(!ix.views.open && !ix.views.oldest_image && !views_bytes(&ix.views), "images outlive their views");
    printf("stress: %u batches beside %llu reads (%s)\n", batches, (unsigned long long)reads, simd_names[simd_in_use]);
    index_release(&ix);
    text_free(&body);
    return 0;
}
