/* A file that is begun at one instant and written while the index changes has the same bytes as one written at once: every change
 * was announced, whatever kind of record it was to. Best compiled with FUSION_SMALL_BLOCKS.
 *
 *   instants [rounds] */
#include "changes.h"

#include "_core/check.h"
#include "_core/saved.h"

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
