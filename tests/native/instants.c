/* A file that is begun at one instant and written while the index changes has the same bytes as one written at once: every change
 * was announced, whatever kind of record it was to. Best compiled with FUSION_SMALL_BLOCKS.
 *
 *   instants [rounds] */
#include "test.h"

#include "_core/apply.h"
#include "_core/check.h"
#include "_core/saved.h"
#include "_core/scanner.h"

static uint64_t state = 1;

static void print_path(text *body)
{
    static const char *const names[] = {"a", "b", "c", "d", "longer", "name of its own", "0123456789012345678901234567890123456789"};
    for (uint32_t depth = 1 + random_below(&state, 4); depth; depth--)
        text_print(body, "/%s", names[random_below(&state, sizeof names / sizeof *names)]);
}

static void print_event(text *body, bool is_delete)
{
    text_print(body, "{\"event_type\":\"%s\",\"rows\":[", is_delete ? "delete" : "update");
    for (uint32_t rows = 1 + random_below(&state, is_delete ? 2 : 12); rows; rows--) {
        text_print(body, "{\"path\":\"");
        print_path(body);
        text_print(body, "\",\"size\":%u,\"modified_time\":%u.5,\"is_dir\":%s}%s", random_below(&state, 100), random_below(&state, 50),
                   random_below(&state, 3) ? "false" : "true", rows > 1 ? "," : "");
    }
    text_print(body, "]}");
}

static void change(fusion_index *ix, text *body)
{
    fusion_batch batch;
    apply_result result;
    uint32_t dice = random_below(&state, 100);
    if (dice == 0) {
        index_clear(ix);
        return;
    }
    body->len = 0;
    text_print(body, "{\"session_id\":\"s\",\"source_type\":\"%s\",\"is_snapshot_end\":%s,\"events\":[", dice < 40 ? "snapshot" : "message",
               dice < 8 ? "true" : "false");
    print_event(body, dice >= 75);
    text_print(body, "]}");
    batch_init(&batch);
    EXPECT(scan_body(body->base, body->len, &batch) == SCAN_OK, "%.*s was declined", (int)body->len, body->base);
    rows_prepare(&batch, ix->seed, ix->mask);
    EXPECT(index_apply(ix, &batch, 25.0, &result) == APPLY_OK, "no memory");
    batch_free(&batch);
}

static char *contents(int fd, uint64_t bytes)
{
    char *read = malloc(bytes);
    EXPECT(read && saved_get(fd, read, bytes, 0) == SAVED_OK, "a file of less than %llu bytes", (unsigned long long)bytes);
    return read;
}

static void save(saved_writer *writer, int fd)
{
    EXPECT(saved_open(writer, fd, random_below(&state, 2)) == SAVED_OK, "not opened");
    while (!writer->done)
        EXPECT(saved_write_step(writer) == SAVED_OK, "not saved");
    saved_end(writer);
}

static void one_round(fusion_index *ix, text *body)
{
    FILE *at_once = tmpfile(), *later = tmpfile();
    char why[256];
    EXPECT(at_once && later, "no file");
    saved_writer at_once_writer = {0}, writer = {0};
    const char note[] = "what the file's user says";
    EXPECT(saved_begin(&at_once_writer, ix, note, sizeof note) && saved_begin(&writer, ix, note, sizeof note), "no memory");
    save(&at_once_writer, fileno(at_once));
    uint64_t bytes = saved_bytes(&writer);
    for (uint32_t changes = random_below(&state, 30); changes; changes--)
        change(ix, body);
    EXPECT(index_check(ix, why, sizeof why), "%s", why);
    save(&writer, fileno(later));
    char *expected = contents(fileno(at_once), bytes), *found = contents(fileno(later), bytes);
    for (uint64_t i = 0; i < bytes; i++)
        EXPECT(found[i] == expected[i], "byte %llu of %llu differs", (unsigned long long)i, (unsigned long long)bytes);
    EXPECT(!views_bytes(&ix->views), "images outlive their view");
    free(expected);
    free(found);
    fclose(at_once);
    fclose(later);
}

int main(int argc, char **argv)
{
    const uint32_t rounds = rounds_wanted(argc, argv, 1000);
    fusion_index ix;
    text body = {0};
    EXPECT(index_init(&ix, 1, UINT64_MAX), "no address space");
    for (uint32_t i = 0; i < rounds; i++)
        one_round(&ix, &body);
    printf("instants: %u files\n", rounds);
    index_release(&ix);
    text_free(&body);
    return 0;
}
