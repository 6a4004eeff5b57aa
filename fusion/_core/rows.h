/* A decoded batch: rows in log order, paths normalised, nothing applied yet. */
#ifndef FUSION_ROWS_H
#define FUSION_ROWS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FUSION_MAX_PATH 65535u /* bytes, before and after normalisation */

typedef enum { FUSION_SNAPSHOT = 0, FUSION_MESSAGE = 1, FUSION_ANOMALY = 2 } fusion_source;

typedef struct {
    const char *path;  /* normalised absolute path, not NUL-terminated; points into the body or into scratch */
    uint64_t dir_hash; /* hash of the parent directory's path; filled in by rows_prepare */
    uint64_t hash;     /* hash of the whole path; filled in by rows_prepare */
    int64_t size;      /* bytes, >= 0 */
    double mtime;      /* seconds since the epoch, finite */
    double ctime;
    uint32_t path_len; /* bytes, 1..FUSION_MAX_PATH */
    uint32_t event;    /* which event of the batch the row belongs to */
    uint32_t dir_len;  /* bytes of the parent directory's path, 1 for "/"; filled in by rows_prepare */
    bool is_dir;
    bool is_delete;    /* the event's type; size, times and is_dir are then 0 */
    bool same_dir;     /* the parent is the row before's parent; filled in by rows_prepare */
} fusion_row;

typedef struct {
    int64_t index; /* as sent; -1 when absent */
    bool is_delete;
} fusion_event;

typedef struct {
    fusion_row *rows;
    fusion_event *events;
    size_t n_rows, cap_rows;
    size_t n_events, cap_events;
    char *scratch; /* rewritten paths and strings; allocated once per batch, so that pointers into it stay valid */
    size_t scratch_len;
    const char *session_id; /* UTF-8, into the body or scratch; NULL when absent */
    size_t session_id_len;
    fusion_source source;
    bool is_snapshot_end;
} fusion_batch;

static inline void batch_init(fusion_batch *b)
{
    memset(b, 0, sizeof *b);
}

static inline void batch_free(fusion_batch *b)
{
    free(b->rows);
    free(b->events);
    free(b->scratch);
    batch_init(b);
}

/* Makes room for that many rows in all; false when memory is out. */
static inline bool batch_reserve_rows(fusion_batch *b, size_t cap)
{
    if (cap <= b->cap_rows)
        return true;
    fusion_row *rows = realloc(b->rows, cap * sizeof *rows);
    if (!rows)
        return false;
    b->rows = rows;
    b->cap_rows = cap;
    return true;
}

/* The next row, zeroed, or NULL when memory is out. */
static inline fusion_row *batch_add_row(fusion_batch *b)
{
    if (b->n_rows == b->cap_rows && !batch_reserve_rows(b, b->cap_rows ? b->cap_rows * 2 : 16))
        return NULL;
    fusion_row *row = &b->rows[b->n_rows++];
    memset(row, 0, sizeof *row);
    return row;
}

/* The next event, or NULL when memory is out. */
static inline fusion_event *batch_add_event(fusion_batch *b)
{
    if (b->n_events == b->cap_events) {
        size_t cap = b->cap_events ? b->cap_events * 2 : 4;
        fusion_event *events = realloc(b->events, cap * sizeof *events);
        if (!events)
            return NULL;
        b->events = events;
        b->cap_events = cap;
    }
    fusion_event *event = &b->events[b->n_events++];
    event->index = -1;
    event->is_delete = false;
    return event;
}

#endif
