/* Random changes to a small tree: rows, deletes, snapshots and their ends, now and then everything. */
#ifndef FUSION_CHANGES_H
#define FUSION_CHANGES_H

#include "test.h"

#include "_core/apply.h"
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

#endif
