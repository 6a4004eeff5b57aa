/* Directories read from the disk into JSON rows, several in one go; needs no Python.
 *
 * A row is {"file_path","size","modified_time","created_time","is_dir"}. Bytes of a name that are not UTF-8 are written as the
 * surrogate escapes \udc80 to \udcff. Times are the doubles of os.lstat. */
#ifndef FUSION_LISTING_H
#define FUSION_LISTING_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "_core/text.h"
#include "_core/times_write.h"

#define LISTING_DIRECTORIES 32       /* in one go */
#define LISTING_BUFFER (32 * 1024)   /* bytes of entries read at once: at most 1365 of them */
#define LISTING_PIECE_ROWS 1000      /* a piece ends with the buffer that reaches one of these */
#define LISTING_PIECE_BYTES (1 << 20)
#define LISTING_MAX_PATH 65535       /* bytes of a path that servers take */
#define LISTING_ERRNOS 256

/* What the kernel writes; the C library has such a struct only for its own way of reading. */
typedef struct {
    uint64_t inode;
    int64_t offset;
    uint16_t length; /* of this entry, to the next one */
    uint8_t type;    /* DT_DIR ... */
    char name[];
} listing_entry;

typedef struct {
    const char *below; /* its path below the root, with a NUL; empty for the root */
    size_t below_len;
    bool skip;     /* its content is left out */
    int error;     /* errno of why it could not be opened, or read to its end; 0 */
    size_t row, row_len;     /* in `rows_above`: its own row, when it has subdirectories */
    size_t names, names_len; /* in `names`: those of its subdirectories, each with a NUL */
} listing_directory;

typedef struct {
    int root;
    const char *path; /* how rows call the root */
    size_t path_len;
    bool untyped; /* take every entry's type for unknown, as some file systems leave it */
    /* Directories, the first `done` of which are. */
    listing_directory directories[LISTING_DIRECTORIES];
    size_t n_directories, done;
    text rows_above, names;
    /* The one being read: */
    int fd; /* -1: none is */
    struct stat status;
    text stem;             /* an entry's row up to its name */
    size_t stem_own;       /* how much of it is for the directory's own row */
    size_t stem_path;      /* bytes of the path that it contains, unescaped */
    size_t n_filled;       /* bytes of entries that are not yet rows */
    /* A piece of rows: */
    text rows; /* separated by commas */
    text ends; /* uint32_t: where each row ends */
    size_t n_rows, path_bytes;
    uint32_t failures[LISTING_ERRNOS]; /* entries that could not be looked at, by errno */
    bool failed;
    bool no_memory;
    _Alignas(8) char entries[LISTING_BUFFER];
} listing;

static inline void listing_init(listing *l, int root, const char *path, size_t len, bool untyped)
{
    memset(l, 0, offsetof(listing, entries));
    l->root = root;
    l->path = path;
    l->path_len = len;
    l->untyped = untyped;
    l->fd = -1;
}

static inline void listing_close(listing *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

static inline void listing_free(listing *l)
{
    listing_close(l);
    free(l->rows_above.base);
    free(l->names.base);
    free(l->stem.base);
    free(l->rows.base);
    free(l->ends.base);
}

/* Opening */

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

/* Opens a path no component of which is a symbolic link. Where the kernel cannot promise that (before 5.6, or forbidden by a
 * sandbox), it holds for the last component alone. */
static inline int listing_open_at(int at, const char *path, int flags)
{
    struct {
        uint64_t flags, mode, resolve;
    } how = {(uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW), 0, 0x04 /* RESOLVE_NO_SYMLINKS */};
    long fd;
    do
        fd = syscall(SYS_openat2, at, path, &how, sizeof how);
    while (fd < 0 && errno == EINTR);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        do
            fd = openat(at, path, flags | O_CLOEXEC | O_NOFOLLOW);
        while (fd < 0 && errno == EINTR);
    return (int)fd;
}

/* Opens the directory at a path of any length relative to `root`, in steps that the kernel takes; -1 and errno otherwise. */
static inline int listing_open_below(int root, const char *path, size_t len, int flags)
{
    int at = root;
    while (at >= 0 && len >= PATH_MAX) {
        char step[PATH_MAX];
        const char *slash = memrchr(path, '/', PATH_MAX - 1);
        size_t n = slash ? (size_t)(slash - path) : 0;
        memcpy(step, path, n);
        step[n] = 0;
        int next = listing_open_at(at, step, O_PATH | O_DIRECTORY); /* ENOENT for none */
        int error = errno;
        if (at != root)
            close(at);
        errno = error;
        at = next;
        path += n + 1;
        len -= n + 1;
    }
    if (at < 0)
        return -1;
    int fd = listing_open_at(at, len ? path : ".", flags | O_DIRECTORY);
    int error = errno;
    if (at != root)
        close(at);
    errno = error;
    return fd;
}

/* Rows */

/* Bytes of a path as JSON string content: at most 6 for 1. */
static inline char *listing_escape(char *out, const char *bytes, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *p = (const unsigned char *)bytes, *end = p + n;
    while (p < end) {
        const unsigned char *valid = p;
        size_t sequence = 1;
        while (p < end && (sequence = utf8_sequence(p, (size_t)(end - p))))
            p += sequence;
        out = json_escape(out, (const char *)valid, (size_t)(p - valid));
        if (p < end) {
            out = TEXT_LITERAL(out, "\\udc");
            *out++ = hex[*p >> 4];
            *out++ = hex[*p & 15];
            p++;
        }
    }
    return out;
}

/* The same, quick when the bytes stand for themselves. */
static inline char *listing_text(char *out, const char *bytes, size_t n)
{
    bool plain = true;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        plain &= c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
    }
    if (!plain)
        return listing_escape(out, bytes, n);
    if (n)
        memcpy(out, bytes, n);
    return out + n;
}

/* As Python makes a float of it: two roundings, so the compiler must not fuse them. */
static inline double listing_seconds(struct timespec t)
{
    volatile double fraction = 1e-9 * (double)t.tv_nsec;
    return (double)t.tv_sec + fraction;
}

#define LISTING_ROW_START "{\"file_path\":\""
/* Bytes of a row beside its path. */
#define LISTING_ROW_ROOM (sizeof(LISTING_ROW_START "\",\"size\":,\"is_dir\":false},") + INT64_WRITE_MAX + TIMES_WRITE_MAX)

/* What comes behind the path. */
static inline char *listing_status(char *out, const struct stat *status)
{
    out = TEXT_LITERAL(out, "\",\"size\":");
    out = int64_write(out, status->st_size);
    out = times_write_any(out, listing_seconds(status->st_mtim), listing_seconds(status->st_ctim));
    return S_ISDIR(status->st_mode) ? TEXT_LITERAL(out, ",\"is_dir\":true}") : TEXT_LITERAL(out, ",\"is_dir\":false}");
}

/* Room for `more` bytes; once memory is out nothing counts any more. */
static inline bool listing_room(listing *l, text *t, size_t more)
{
    l->no_memory |= !text_room(t, more);
    return !l->no_memory;
}

/* Adds a row: the first `stem` bytes of the stem, the name, the status. */
static inline void listing_add_row(listing *l, size_t stem, const char *name, size_t len, const struct stat *status)
{
    if (!listing_room(l, &l->rows, 1 + stem + 6 * len + LISTING_ROW_ROOM) || !listing_room(l, &l->ends, sizeof(uint32_t)))
        return;
    char *out = l->rows.base + l->rows.len;
    if (l->n_rows)
        *out++ = ',';
    memcpy(out, l->stem.base, stem);
    out = listing_text(out + stem, name, len);
    l->rows.len = (size_t)(listing_status(out, status) - l->rows.base);
    uint32_t end = (uint32_t)l->rows.len;
    memcpy(l->ends.base + l->ends.len, &end, sizeof end);
    l->ends.len += sizeof end;
    l->n_rows++;
    l->path_bytes += l->stem_path + len;
}

/* Sets the stem for the rows of a directory and of what it contains. */
static inline bool listing_set_stem(listing *l, const listing_directory *d)
{
    if (!listing_room(l, &l->stem, sizeof(LISTING_ROW_START) + 6 * (l->path_len + d->below_len + 2)))
        return false;
    bool slash = l->path_len && l->path[l->path_len - 1] == '/';
    char *out = TEXT_LITERAL(l->stem.base, LISTING_ROW_START);
    out = listing_text(out, l->path, l->path_len);
    l->stem_path = l->path_len;
    if (d->below_len) {
        if (!slash)
            *out++ = '/';
        out = listing_text(out, d->below, d->below_len);
        l->stem_path += !slash + d->below_len;
        slash = false;
    }
    l->stem_own = (size_t)(out - l->stem.base);
    if (!slash)
        *out++ = '/';
    l->stem_path += !slash;
    l->stem.len = (size_t)(out - l->stem.base);
    return true;
}

static inline void listing_fail(listing *l, int error)
{
    l->failures[error > 0 && error < LISTING_ERRNOS ? error : EIO]++;
    l->failed = true;
}

/* Reading */

static inline listing_entry *listing_at(listing *l, size_t at)
{
    return (listing_entry *)(void *)(l->entries + at);
}

static inline bool listing_is_dots(const listing_entry *entry)
{
    const char *name = entry->name;
    return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

static inline bool listing_look(listing *l, const listing_entry *entry, struct stat *status)
{
    int result;
    do
        result = fstatat(l->fd, entry->name, status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT);
    while (result < 0 && errno == EINTR);
    return result == 0;
}

static inline bool listing_has_type(const listing_entry *entry)
{
    return entry->type != DT_UNKNOWN;
}

/* Whether an entry is a directory; looks where the file system does not tell. */
static inline bool listing_is_directory(listing *l, const listing_entry *entry)
{
    struct stat status;
    if (listing_has_type(entry))
        return entry->type == DT_DIR;
    return listing_look(l, entry, &status) && S_ISDIR(status.st_mode);
}

/* Entries that were left out have an empty name. */
static inline void listing_leave_out(listing_entry *entry)
{
    entry->name[0] = 0;
}

/* Makes rows and names of the entries that were filled in. */
static inline void listing_convert(listing *l)
{
    for (size_t at = 0; at < l->n_filled && !l->no_memory;) {
        const listing_entry *entry = listing_at(l, at);
        at += entry->length;
        size_t len = strlen(entry->name);
        struct stat status;
        if (len == 0 || listing_is_dots(entry))
            continue;
        bool directory = listing_has_type(entry) && entry->type == DT_DIR; /* its own listing tells the rest */
        if (l->stem_path + len > LISTING_MAX_PATH) {
            listing_fail(l, ENAMETOOLONG);
            continue;
        }
        if (!directory) {
            if (!listing_look(l, entry, &status)) {
                if (errno != ENOENT) /* it vanished */
                    listing_fail(l, errno);
                continue;
            }
            directory = S_ISDIR(status.st_mode);
        }
        if (!directory) {
            listing_add_row(l, l->stem.len, entry->name, len, &status);
        } else if (listing_room(l, &l->names, len + 1)) {
            memcpy(l->names.base + l->names.len, entry->name, len + 1);
            l->names.len += len + 1;
        }
    }
    l->n_filled = 0;
}

/* The directory is read, or cannot be: its own row comes now, or after its subdirectories. */
static inline void listing_done(listing *l, listing_directory *d)
{
    d->names_len = l->names.len - d->names;
    if (d->names_len == 0) {
        listing_add_row(l, l->stem_own, NULL, 0, &l->status);
    } else if (listing_room(l, &l->rows_above, l->stem_own + LISTING_ROW_ROOM)) {
        char *out = l->rows_above.base + l->rows_above.len;
        memcpy(out, l->stem.base, l->stem_own);
        out = listing_status(out + l->stem_own, &l->status);
        d->row = l->rows_above.len;
        l->rows_above.len = (size_t)(out - l->rows_above.base);
        d->row_len = l->rows_above.len - d->row;
    }
}

/* Whether the error says that there is no directory any more. */
static inline bool listing_is_gone(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

/* Opens the next directory; false when it has no entries to read. */
static inline bool listing_open(listing *l, listing_directory *d)
{
    if (!listing_set_stem(l, d))
        return false;
    d->names = l->names.len;
    int fd = -1;
    if (!d->skip) {
        fd = listing_open_below(l->root, d->below, d->below_len, O_RDONLY);
        d->error = fd < 0 ? errno : 0;
        if (d->error && (listing_is_gone(d->error) || d->error == EMFILE || d->error == ENFILE))
            return false;
    }
    bool listed = fd >= 0;
    if (!listed) /* as it may not be read, or must not */
        fd = listing_open_below(l->root, d->below, d->below_len, O_PATH);
    if (fd < 0 || fstat(fd, &l->status) < 0) {
        if (!d->error)
            d->error = errno;
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (listed) {
        l->fd = fd;
        return true;
    }
    close(fd);
    listing_done(l, d);
    return false;
}

/* Fills in the next entries of the directories; false when there are none left. */
static inline bool listing_fill(listing *l)
{
    while (l->done < l->n_directories && !l->no_memory) {
        listing_directory *d = &l->directories[l->done];
        if (l->fd >= 0 || listing_open(l, d)) {
            long n;
            do
                n = syscall(SYS_getdents64, l->fd, l->entries, sizeof l->entries);
            while (n < 0 && errno == EINTR);
            if (n > 0) {
                l->n_filled = (size_t)n;
                for (size_t at = 0; l->untyped && at < l->n_filled; at += listing_at(l, at)->length)
                    listing_at(l, at)->type = DT_UNKNOWN;
                return true;
            }
            if (n < 0 && errno != ENOENT) /* it was removed */
                d->error = errno;
            listing_close(l);
            listing_done(l, d);
        }
        l->done++;
    }
    return false;
}

/* Begins a piece. */
static inline void listing_clear(listing *l)
{
    l->rows.len = l->ends.len = 0;
    l->n_rows = l->path_bytes = 0;
}

static inline bool listing_is_full(const listing *l)
{
    return l->n_rows >= LISTING_PIECE_ROWS || l->rows.len >= LISTING_PIECE_BYTES;
}

#endif
