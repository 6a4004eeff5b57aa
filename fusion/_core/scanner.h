/* The strict scanner: bytes of a push to rows, without an object made, for the shapes that clients send.
 *
 * It takes nothing that fusion/events.py refuses and reads nothing differently; whatever it does not fully
 * understand, errors included, it declines, and events.py decides.
 *
 * Reading within bounds: the document ends with '}' (scan_body sees to it), and no token but a closing brace
 * ends with one. So after any other token there is a next byte, and a loop over bytes other than '}' ends in
 * time. Only strings, closing braces and reads of several bytes at once look at the end.
 *
 * Functions named scan_* take the position of a token's first byte and return the position after it, or NULL to
 * decline. */
#ifndef FUSION_SCANNER_H
#define FUSION_SCANNER_H

#include "double_read.h"
#include "path.h"
#include "rows.h"
#include "scan_text.h"

#define SCAN_MAX_DEPTH 64
#define SCAN_ROW_BYTES 128   /* what an object row takes in a body, rather too little than too much */
#define SCAN_ROWS_AHEAD 4096 /* rows that a body gets room for on the strength of its length alone */

#define SCAN_MOST_COLUMNS 16 /* values of an array row; events.py takes any number */

enum { SCAN_OK = 0, SCAN_DECLINED = 1, SCAN_NO_MEMORY = 2 };

/* What a value of an array row is, by the name that the event's fields have in its place. */
enum { COLUMN_END, COLUMN_PATH, COLUMN_SIZE, COLUMN_MTIME, COLUMN_CTIME, COLUMN_IS_DIR, COLUMN_OTHER };

typedef struct {
    const char *end;
    fusion_batch *out;
    size_t body_len;
    bool no_memory;

    const char *fields; /* the last that came, an array of strings */
    size_t fields_len;
    uint8_t columns[SCAN_MOST_COLUMNS + 1]; /* what they name, up to COLUMN_END; empty until an array row asks */

    /* Of the event at hand: */
    bool has_fields;   /* its fields came */
    bool array_rows;   /* some of its rows are arrays, read by these fields */
    bool root_as_file; /* some row says that "/" is no directory */
} fusion_scanner;

static inline const char *scan_no_memory(fusion_scanner *s)
{
    s->no_memory = true;
    return NULL;
}

static inline const char *scan_space(const char *p)
{
    while ((unsigned char)*p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* The colon between a key and its value, and the space around it. */
static inline const char *scan_colon(const char *p)
{
    p = scan_space(p);
    return *p == ':' ? scan_space(p + 1) : NULL;
}

/* Paths */

/* A path that needs rewriting: it has escapes, or another normal form. p is the byte after its opening quote,
 * run the text that begins there. */
static __attribute__((noinline)) const char *scan_rewritten_path(
    fusion_scanner *s, const char *p, scan_run run, fusion_row *row)
{
    fusion_batch *b = s->out;
    if (!b->scratch) {
        /* A path takes at most a byte more than its text, so that both quotes make up for it. */
        b->scratch = malloc(s->body_len + SCAN_COPY_SLACK);
        if (!b->scratch)
            return scan_no_memory(s);
    }
    char *normal = b->scratch + b->scratch_len;
    char *raw = normal + 1; /* normalised in place */
    char *out = raw;

    for (;;) {
        if (run.stop == s->end || (run.high && !utf8_valid(p, run.stop)))
            return NULL;
        scan_copy(out, p, (size_t)(run.stop - p), s->end);
        out += run.stop - p;
        p = run.stop;
        if (*p == '"')
            break;
        do {
            uint32_t code_point;
            if (*p != '\\' || !(p = scan_escape(p, s->end, &code_point)) || !(out = scan_put_code_point(out, code_point)))
                return NULL;
        } while (*p == '\\');
        run = scan_stop(p, s->end);
    }
    size_t len = (size_t)(out - raw);
    if (len > FUSION_MAX_PATH)
        return NULL;
    if (path_is_normal(raw, len))
        normal = raw;
    else
        len = path_normalise(raw, len, normal);
    if (len > FUSION_MAX_PATH)
        return NULL;
    row->path = normal;
    row->path_len = (uint32_t)len;
    b->scratch_len = (size_t)(normal + len - b->scratch);
    return p + 1;
}

static inline const char *scan_path(fusion_scanner *s, const char *p, fusion_row *row)
{
    if (*p++ != '"')
        return NULL;
    const scan_run run = scan_stop(p, s->end);
    const size_t len = (size_t)(run.stop - p);
    if (run.stop == s->end)
        return NULL;
    if (*run.stop != '"' || *p != '/' || (run.odd && !path_is_normal(p, len)))
        return scan_rewritten_path(s, p, run, row);
    if (len > FUSION_MAX_PATH || (run.high && !utf8_valid(p, run.stop)))
        return NULL;
    row->path = p;
    row->path_len = (uint32_t)len;
    return run.stop + 1;
}

/* Scalars */

static inline const char *scan_bool(const char *p, const char *end, bool *value)
{
    *value = *p == 't';
    if (SCAN_AT(p, end, "false"))
        return p + 5;
    return SCAN_AT(p, end, "true") ? p + 4 : NULL;
}

static inline const char *scan_size(const char *p, const char *end, int64_t *size)
{
    *size = 0;
    if (SCAN_AT(p, end, "null"))
        return p + 4;
    p = int64_read(p, end, size);
    return *size >= 0 ? p : NULL;
}

/* A number of seconds. Ten digits, a point and one to seven digits, the years 2001 to 2286 to some fraction of a
 * second: with the place of all digits known by the shape alone they are read side by side. */
static inline const char *scan_time(const char *p, const char *end, double *seconds)
{
    if (end - p >= 19 && p[10] == '.' && *p != '0') {
        const uint64_t head = word_load(p), fraction = word_load(p + 11);
        const unsigned n = digits_count(fraction);
        const char *after = p + 11 + n;
        if (digits_count(head) == 8 && char_is_digit(p[8]) && char_is_digit(p[9]) && n >= 1 && n <= 7 &&
            *after != 'e' && *after != 'E') {
            const uint64_t whole = (uint64_t)digits_value(head, 8) * 100 + (uint64_t)(p[8] - '0') * 10 + (uint64_t)(p[9] - '0');
            const uint64_t digits = whole * digits_powers[n] + digits_value(fraction, n);
            *seconds = double_from_bits(double_bits_nearest(digits, -(int64_t)n));
            return after;
        }
    }
    *seconds = 0.0;
    if (SCAN_AT(p, end, "null"))
        return p + 4;
    const char *after = double_read(p, end, seconds);
    if (after == p + 2 && *p == '-' && p[1] == '0') /* the integer -0 is 0, unlike -0.0 */
        *seconds = 0.0;
    return after;
}

/* Any JSON value, at the given depth; its numbers must be finite. */
static const char *scan_skip_value(const char *p, const char *end, int depth)
{
    double number;
    if (*p == '"')
        return scan_skip_string(p, end);
    if (*p == '{' || *p == '[') {
        const bool object = *p == '{';
        const char close = object ? '}' : ']';
        if (depth > SCAN_MAX_DEPTH)
            return NULL;
        p = scan_space(p + 1);
        if (*p == close)
            return p + 1 < end ? p + 1 : NULL;
        for (;;) {
            if (object && (*p != '"' || !(p = scan_skip_string(p, end)) || !(p = scan_colon(p))))
                return NULL;
            p = scan_skip_value(p, end, depth + 1);
            if (!p)
                return NULL;
            p = scan_space(p);
            if (*p == close)
                return p + 1 < end ? p + 1 : NULL;
            if (*p != ',')
                return NULL;
            p = scan_space(p + 1);
        }
    }
    if (SCAN_AT(p, end, "null") || SCAN_AT(p, end, "true"))
        return p + 4;
    return SCAN_AT(p, end, "false") ? p + 5 : double_read(p, end, &number);
}

/* Objects and arrays of the wire format */

/* A key of plain ASCII, to its closing quote: one with escapes could be any. */
static inline const char *scan_key(const char *p, const char *end)
{
    if (*p != '"')
        return NULL;
    const scan_run run = scan_stop(p + 1, end);
    return run.stop < end && *run.stop == '"' && !run.high ? run.stop : NULL;
}

/* After a member or an element: the next one, with *more set, or the position after the closing character. */
static inline const char *scan_next(const char *p, char close, bool *more)
{
    p = scan_space(p);
    *more = *p == ',';
    if (*more)
        return scan_space(p + 1);
    return *p == close ? p + 1 : NULL;
}

/* The members of an object, within a loop around tests of all known keys: when p is at the key, the expression
 * reads its value, p moves on to the next key and the loop ends after the last member. In the usual order of
 * keys one turn of the loop reads them all without a test in vain. */
#define SCAN_MEMBER(key, scan_value) \
    if (SCAN_AT(p, end, "\"" key "\"")) { \
        p = scan_colon(p + sizeof(key) + 1); \
        SCAN_MEMBER_VALUE(scan_value) \
    }

#define SCAN_OTHER_MEMBER(depth) \
    { \
        p = scan_key(p, end); \
        p = p ? scan_colon(p + 1) : NULL; \
        SCAN_MEMBER_VALUE(scan_skip_value(p, end, depth)) \
    }

#define SCAN_MEMBER_VALUE(scan_value) \
    if (!p || !(p = (scan_value)) || !(p = scan_next(p, '}', &more))) \
        return NULL; \
    if (!more) \
        break;

static inline const char *scan_object_row(fusion_scanner *s, const char *p, fusion_row *row)
{
    enum { PATH = 1, FILE_PATH = 2, IS_DIR = 4, IS_DIRECTORY = 8 };
    const char *const end = s->end;
    unsigned seen = 0;
    bool more = true;

    p = scan_space(p + 1);
    for (;;) {
        const char *const first = p;
        SCAN_MEMBER("file_path", (seen |= FILE_PATH, scan_path(s, p, row)))
        SCAN_MEMBER("path", (seen |= PATH, scan_path(s, p, row)))
        SCAN_MEMBER("size", scan_size(p, end, &row->size))
        SCAN_MEMBER("modified_time", scan_time(p, end, &row->mtime))
        SCAN_MEMBER("created_time", scan_time(p, end, &row->ctime))
        SCAN_MEMBER("is_dir", (seen |= IS_DIR, scan_bool(p, end, &row->is_dir)))
        SCAN_MEMBER("is_directory", (seen |= IS_DIRECTORY, scan_bool(p, end, &row->is_dir)))
        if (p == first)
            SCAN_OTHER_MEMBER(6)
    }

    /* One path; of two names for the same thing one counts, which is left to events.py. */
    const unsigned path = seen & (PATH | FILE_PATH), is_dir = seen & (IS_DIR | IS_DIRECTORY);
    if (path == 0 || path == (PATH | FILE_PATH) || is_dir == (IS_DIR | IS_DIRECTORY))
        return NULL;
    return p < end ? p : NULL;
}

static inline uint8_t scan_column(const char *p, const char *end)
{
    if (SCAN_AT(p, end, "\"file_path\"") || SCAN_AT(p, end, "\"path\""))
        return COLUMN_PATH;
    if (SCAN_AT(p, end, "\"size\""))
        return COLUMN_SIZE;
    if (SCAN_AT(p, end, "\"modified_time\""))
        return COLUMN_MTIME;
    if (SCAN_AT(p, end, "\"created_time\""))
        return COLUMN_CTIME;
    if (SCAN_AT(p, end, "\"is_dir\"") || SCAN_AT(p, end, "\"is_directory\""))
        return COLUMN_IS_DIR;
    return COLUMN_OTHER;
}

/* Reads the fields into columns, one of them the path; false when these fields are left to events.py: they are too
 * many, or of two names for the same thing, or the same name twice, one counts. */
static __attribute__((noinline)) bool scan_columns(fusion_scanner *s)
{
    const char *p = scan_space(s->fields + 1);
    unsigned seen = 0;
    size_t n = 0;
    bool more = true;

    while (more && n < SCAN_MOST_COLUMNS) {
        const uint8_t column = scan_column(p, s->end);
        p = scan_key(p, s->end);
        if (!p || (column != COLUMN_OTHER && (seen >> column & 1)) || !(p = scan_next(p + 1, ']', &more)))
            return false;
        seen |= 1u << column;
        s->columns[n++] = column;
    }
    s->columns[n] = COLUMN_END;
    return !more && (seen >> COLUMN_PATH & 1);
}

/* The values of an array, as SCAN_MEMBER reads the members of an object. */
#define SCAN_VALUE(which, scan_value) \
    if (*column == (which)) { \
        if (!(p = (scan_value)) || !(p = scan_next(p, ']', &more)) || more == (*++column == COLUMN_END)) \
            return NULL; \
        if (!more) \
            return p; \
    }

static inline const char *scan_array_row(fusion_scanner *s, const char *p, fusion_row *row)
{
    const char *const end = s->end;
    const uint8_t *column = s->columns;
    bool more = true;

    if (!s->array_rows) {
        if (!s->has_fields || (*column == COLUMN_END && !scan_columns(s)))
            return NULL;
        s->array_rows = true;
    }
    p = scan_space(p + 1);
    for (;;) {
        SCAN_VALUE(COLUMN_PATH, scan_path(s, p, row))
        SCAN_VALUE(COLUMN_SIZE, scan_size(p, end, &row->size))
        SCAN_VALUE(COLUMN_MTIME, scan_time(p, end, &row->mtime))
        SCAN_VALUE(COLUMN_CTIME, scan_time(p, end, &row->ctime))
        SCAN_VALUE(COLUMN_IS_DIR, scan_bool(p, end, &row->is_dir))
        SCAN_VALUE(COLUMN_OTHER, scan_skip_value(p, end, 6))
    }
}

static inline const char *scan_row(fusion_scanner *s, const char *p)
{
    if (*p != '{' && *p != '[')
        return NULL;
    fusion_row *row = batch_add_row(s->out);
    if (!row)
        return scan_no_memory(s);
    row->event = (uint32_t)(s->out->n_events - 1);
    p = *p == '{' ? scan_object_row(s, p, row) : scan_array_row(s, p, row);
    s->root_as_file |= row->path_len == 1 && !row->is_dir;
    return p;
}

/* The rows of an event, of which the first is to be row number first_row: of two arrays the last counts. */
static inline const char *scan_rows(fusion_scanner *s, const char *p, size_t first_row)
{
    bool more = true;
    s->out->n_rows = first_row;
    s->root_as_file = false;
    if (*p != '[')
        return NULL;
    p = scan_space(p + 1);
    if (*p == ']')
        return p + 1;
    while (more) {
        p = scan_row(s, p);
        if (!p || !(p = scan_next(p, ']', &more)))
            return NULL;
    }
    return p;
}

/* The event's fields, mostly those of the event before once more; they say nothing about rows that are objects. Of
 * two the last counts: others than those that rows were read by are left to events.py. */
static inline const char *scan_fields(fusion_scanner *s, const char *p)
{
    const char *const end = s->end, *const fields = p;
    bool more = true;
    s->has_fields = true;
    if (s->fields_len && s->fields_len < (size_t)(end - p) && memcmp(p, s->fields, s->fields_len) == 0)
        return p + s->fields_len;
    if (*p != '[' || s->array_rows)
        return NULL;
    p = scan_space(p + 1);
    if (*p == ']') {
        more = false;
        p++;
    }
    while (more) {
        p = *p == '"' ? scan_skip_string(p, end) : NULL;
        if (!p || !(p = scan_next(p, ']', &more)))
            return NULL;
    }
    s->fields = fields;
    s->fields_len = (size_t)(p - fields);
    s->columns[0] = COLUMN_END;
    return p;
}

static inline const char *scan_event_type(const char *p, const char *end, bool *is_delete)
{
    *is_delete = SCAN_AT(p, end, "\"delete\"");
    if (*is_delete || SCAN_AT(p, end, "\"update\"") || SCAN_AT(p, end, "\"insert\""))
        return p + sizeof("\"update\"") - 1;
    return NULL;
}

static inline const char *scan_event(fusion_scanner *s, const char *p)
{
    fusion_batch *const b = s->out;
    const char *const end = s->end;
    const size_t first_row = b->n_rows;
    bool more = true;

    if (*p != '{')
        return NULL;
    fusion_event *event = batch_add_event(b);
    if (!event)
        return scan_no_memory(s);
    s->has_fields = s->array_rows = s->root_as_file = false;

    p = scan_space(p + 1);
    if (*p == '}')
        return p + 1 < end ? p + 1 : NULL;
    for (;;) {
        const char *const first = p;
        SCAN_MEMBER("event_type", scan_event_type(p, end, &event->is_delete))
        SCAN_MEMBER("fields", scan_fields(s, p))
        SCAN_MEMBER("rows", scan_rows(s, p, first_row))
        SCAN_MEMBER("index", int64_read(p, end, &event->index))
        SCAN_MEMBER("event_schema", *p == '"' ? scan_skip_string(p, end) : NULL)
        SCAN_MEMBER("table", *p == '"' ? scan_skip_string(p, end) : NULL)
        if (p == first)
            SCAN_OTHER_MEMBER(4)
    }

    if (event->is_delete) {
        for (fusion_row *row = b->rows + first_row; row < b->rows + b->n_rows; row++) {
            row->is_delete = true;
            row->is_dir = false;
            row->size = 0;
            row->mtime = row->ctime = 0.0;
        }
    } else if (s->root_as_file) {
        return NULL;
    }
    return p < end ? p : NULL;
}

/* All events; of two arrays the last counts. */
static inline const char *scan_events(fusion_scanner *s, const char *p)
{
    bool more = true;
    s->out->n_events = s->out->n_rows = 0;
    if (*p != '[')
        return NULL;
    p = scan_space(p + 1);
    if (*p == ']')
        return p + 1;
    while (more) {
        p = scan_event(s, p);
        if (!p || !(p = scan_next(p, ']', &more)))
            return NULL;
    }
    return p;
}

static inline const char *scan_source_type(const char *p, const char *end, fusion_source *source)
{
    if (SCAN_AT(p, end, "\"snapshot\"")) {
        *source = FUSION_SNAPSHOT;
        return p + sizeof("\"snapshot\"") - 1;
    }
    *source = FUSION_MESSAGE;
    return SCAN_AT(p, end, "\"message\"") ? p + sizeof("\"message\"") - 1 : NULL;
}

/* A string without escapes, where it stands. */
static inline const char *scan_session_id(const char *p, const char *end, fusion_batch *out)
{
    if (*p++ != '"')
        return NULL;
    const scan_run run = scan_stop(p, end);
    if (run.stop == end || *run.stop != '"' || (run.high && !utf8_valid(p, run.stop)))
        return NULL;
    out->session_id = p;
    out->session_id_len = (size_t)(run.stop - p);
    return run.stop + 1;
}

static inline const char *scan_document(fusion_scanner *s, const char *p)
{
    enum { SESSION_ID = 1, SOURCE_TYPE = 2, EVENTS = 4 };
    fusion_batch *const b = s->out;
    const char *const end = s->end;
    unsigned seen = 0;
    bool more = true;

    if (*p != '{')
        return NULL;
    p = scan_space(p + 1);
    for (;;) {
        const char *const first = p;
        SCAN_MEMBER("session_id", (seen |= SESSION_ID, scan_session_id(p, end, b)))
        SCAN_MEMBER("events", (seen |= EVENTS, scan_events(s, p)))
        SCAN_MEMBER("source_type", (seen |= SOURCE_TYPE, scan_source_type(p, end, &b->source)))
        SCAN_MEMBER("is_snapshot_end", scan_bool(p, end, &b->is_snapshot_end))
        if (p == first)
            SCAN_OTHER_MEMBER(2)
    }
    return seen == (SESSION_ID | SOURCE_TYPE | EVENTS) && p == end ? p : NULL;
}

/* Decodes body[0..n) into out, which is empty and stays so unless SCAN_OK is returned. Paths and the session's
 * id may point into body. Needs no lock and no Python. */
static int scan_body(const char *body, size_t n, fusion_batch *out)
{
    const char *end = body + n;
    while (end > body && (end[-1] == ' ' || end[-1] == '\n' || end[-1] == '\r' || end[-1] == '\t'))
        end--;
    if (end == body || end[-1] != '}')
        return SCAN_DECLINED;
    fusion_scanner s = {.end = end, .out = out, .body_len = n};
    const size_t likely = n / SCAN_ROW_BYTES + 1;
    if (!batch_reserve_rows(out, likely < SCAN_ROWS_AHEAD ? likely : SCAN_ROWS_AHEAD))
        return SCAN_NO_MEMORY;
    if (scan_document(&s, scan_space(body)))
        return SCAN_OK;
    batch_free(out);
    return s.no_memory ? SCAN_NO_MEMORY : SCAN_DECLINED;
}

#endif
