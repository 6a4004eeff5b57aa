/* One directory read from the disk into JSON rows, a buffer of its entries at a time; needs no Python.
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

#define LISTING_BUFFER (32 * 1024) /* bytes of entries read at once: at most 1365 of them */
#define LISTING_MAX_PATH 65535     /* bytes of a path that servers take */
#define LISTING_ERRNOS 256

/* What the kernel writes; glibc has the struct under the same name only with its own way of reading. */
typedef struct {
    uint64_t inode;
    int64_t offset;
    uint16_t length; /* of this entry, to the next one */
    uint8_t type;    /* DT_DIR ... */
    char name[];
} listing_entry;

typedef struct {
    int fd; /* of the directory being read, -1 when there is none */
    bool untyped;     /* take every entry's type for unknown, as some file systems leave it */
    bool end;         /* the kernel has no further entries */
    int error;        /* errno of an early end, or 0 */
    size_t n_filled;  /* bytes of entries that are not yet rows */
    size_t stem_path; /* bytes of the directory's path with a slash behind */
    text stem;        /* a row up to the entry's name */
    /* What the entries became: */
    text rows;  /* separated by commas */
    text ends;  /* uint32_t: where each row ends */
    text names; /* of subdirectories, each with its NUL */
    size_t n_rows;
    size_t path_bytes;
    uint32_t failures[LISTING_ERRNOS]; /* entries that could not be looked at, by errno */
    bool failed;
    _Alignas(8) char entries[LISTING_BUFFER];
} listing;

static inline void listing_init(listing *l)
{
    memset(l, 0, offsetof(listing, entries));
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
    free(l->stem.base);
    free(l->rows.base);
    free(l->ends.base);
    free(l->names.base);
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
    int fd = listing_open_at(at, path, flags | O_DIRECTORY);
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

/* Whether it stands for itself in a JSON string. */
static inline bool listing_plain(const char *bytes, size_t n)
{
    bool plain = true;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        plain &= c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
    }
    return plain;
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

/* The row of one path; false when memory is out. */
static inline bool listing_row(text *row, const char *path, size_t len, const struct stat *status)
{
    if (!text_room(row, LISTING_ROW_ROOM + 6 * len))
        return false;
    char *out = TEXT_LITERAL(row->base + row->len, LISTING_ROW_START);
    out = listing_escape(out, path, len);
    row->len = (size_t)(listing_status(out, status) - row->base);
    return true;
}

/* Adds the row of one entry. */
static inline bool listing_add_row(listing *l, const char *name, size_t len, const struct stat *status)
{
    if (!text_room(&l->rows, 1 + l->stem.len + 6 * len + LISTING_ROW_ROOM) || !text_room(&l->ends, sizeof(uint32_t)))
        return false;
    char *out = l->rows.base + l->rows.len;
    if (l->n_rows)
        *out++ = ',';
    memcpy(out, l->stem.base, l->stem.len);
    out += l->stem.len;
    if (listing_plain(name, len)) {
        memcpy(out, name, len);
        out += len;
    } else {
        out = listing_escape(out, name, len);
    }
    l->rows.len = (size_t)(listing_status(out, status) - l->rows.base);
    uint32_t end = (uint32_t)l->rows.len;
    memcpy(l->ends.base + l->ends.len, &end, sizeof end);
    l->ends.len += sizeof end;
    l->n_rows++;
    l->path_bytes += l->stem_path + len;
    return true;
}

static inline bool listing_add_name(listing *l, const char *name, size_t len)
{
    if (!text_room(&l->names, len + 1))
        return false;
    memcpy(l->names.base + l->names.len, name, len + 1);
    l->names.len += len + 1;
    return true;
}

static inline void listing_fail(listing *l, int error)
{
    l->failures[error > 0 && error < LISTING_ERRNOS ? error : EIO]++;
    l->failed = true;
}

/* Reading */

/* Begins with the open directory `fd`, which is the listing's from now on; `path` ends with a slash. */
static inline bool listing_begin(listing *l, int fd, const char *path, size_t len)
{
    listing_close(l);
    l->fd = fd;
    l->end = false;
    l->n_filled = 0;
    l->stem_path = len;
    l->stem.len = 0;
    if (!text_room(&l->stem, sizeof(LISTING_ROW_START) + 6 * len))
        return false;
    char *out = TEXT_LITERAL(l->stem.base, LISTING_ROW_START);
    l->stem.len = (size_t)(listing_escape(out, path, len) - l->stem.base);
    return true;
}

/* Takes the next entries from the kernel. A directory that is gone has none. */
static inline void listing_fill(listing *l)
{
    long n;
    do
        n = syscall(SYS_getdents64, l->fd, l->entries, sizeof l->entries);
    while (n < 0 && errno == EINTR);
    l->error = n < 0 && errno != ENOENT ? errno : 0;
    l->n_filled = n > 0 ? (size_t)n : 0;
    l->end = n <= 0;
}

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

/* Whether an entry is a directory; looks where the file system does not tell. */
static inline bool listing_is_directory(listing *l, const listing_entry *entry)
{
    struct stat status;
    if (entry->type != DT_UNKNOWN && !l->untyped)
        return entry->type == DT_DIR;
    return listing_look(l, entry, &status) && S_ISDIR(status.st_mode);
}

/* Entries that were left out have an empty name. */
static inline void listing_leave_out(listing_entry *entry)
{
    entry->name[0] = 0;
}

/* Makes rows and names of the entries that were filled in; false when memory is out. */
static inline bool listing_convert(listing *l)
{
    l->rows.len = l->ends.len = l->names.len = 0;
    l->n_rows = l->path_bytes = 0;
    for (size_t at = 0; at < l->n_filled;) {
        const listing_entry *entry = listing_at(l, at);
        at += entry->length;
        size_t len = strlen(entry->name);
        struct stat status;
        if (len == 0 || listing_is_dots(entry))
            continue;
        bool known = entry->type == DT_DIR && !l->untyped; /* what a directory is like its own listing tells */
        if (l->stem_path + len > LISTING_MAX_PATH)
            listing_fail(l, ENAMETOOLONG);
        else if (!known && !listing_look(l, entry, &status)) {
            if (errno != ENOENT) /* it vanished */
                listing_fail(l, errno);
        } else if (!(known || S_ISDIR(status.st_mode) ? listing_add_name(l, entry->name, len)
                                                       : listing_add_row(l, entry->name, len, &status)))
            return false;
    }
    l->n_filled = 0;
    return true;
}

#endif
