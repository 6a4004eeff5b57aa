/* A directory is listed while system calls and memory fail, each call in turn: what the failure does not concern is listed all the
 * same. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef enum { OPEN_BY_OPENAT2, OPEN_BY_OPENAT, READ_ENTRIES, LOOK, MEMORY, KINDS } call;
static const char *const call_names[] = {"openat2", "openat", "getdents64", "fstatat", "realloc"};

static struct {
    call kind;
    int error;     /* of the calls of that kind from `first` on, `count` of them */
    int first, count;
    int calls[KINDS];
} fault;

static bool fails(call kind)
{
    int at = fault.calls[kind]++;
    if (fault.kind != kind || at < fault.first || at >= fault.first + fault.count)
        return false;
    errno = fault.error;
    return true;
}

static long failing_syscall(long number, int fd, const void *pointer, const uintptr_t *more)
{
    if (number == SYS_getdents64)
        return fails(READ_ENTRIES) ? -1 : syscall(number, fd, pointer, more[0]);
    return fails(OPEN_BY_OPENAT2) ? -1 : syscall(number, fd, pointer, more[0], more[1]);
}

static int failing_openat(int at, const char *path, int flags)
{
    return fails(OPEN_BY_OPENAT) ? -1 : openat(at, path, flags);
}

static int failing_fstatat(int at, const char *path, struct stat *status, int flags)
{
    return fails(LOOK) ? -1 : fstatat(at, path, status, flags);
}

static void *failing_realloc(void *block, size_t size)
{
    return fails(MEMORY) ? NULL : realloc(block, size);
}

#define syscall(number, fd, pointer, ...) failing_syscall(number, fd, pointer, (uintptr_t[2]){(uintptr_t)__VA_ARGS__})
#define openat failing_openat
#define fstatat failing_fstatat
#define realloc failing_realloc
#include "agent/listing.h"
#undef syscall
#undef openat
#undef fstatat
#undef realloc

#include "test.h"

#define FILES 3000 /* more than one buffer of entries */
#define LISTED (FILES + 1)

static char top[] = "/tmp/fusion-listing-XXXXXX";
static int root;

typedef struct {
    size_t rows, names;
    int error;
    uint32_t failures[LISTING_ERRNOS];
    bool no_memory;
} result;

/* Lists the directory at that path below the root with the fault. */
static result list(const char *below, bool untyped)
{
    static listing l;
    result r = {0};
    listing_init(&l, root, top, strlen(top), untyped);
    memset(fault.calls, 0, sizeof fault.calls);
    l.directories[0] = (listing_directory){.below = below, .below_len = strlen(below)};
    l.n_directories = 1;
    while (l.done < l.n_directories && !l.no_memory) {
        listing_clear(&l);
        while (listing_fill(&l)) {
            listing_convert(&l);
            if (listing_is_full(&l))
                break;
        }
        r.rows += l.n_rows;
        uint32_t end = 0;
        for (size_t i = 0; i < l.n_rows; i++) {
            memcpy(&end, l.ends.base + i * sizeof end, sizeof end);
            EXPECT(l.rows.base[end - 1] == '}', "a row ends elsewhere");
        }
        EXPECT(l.no_memory || end == l.rows.len, "the last row ends elsewhere");
    }
    for (size_t i = 0; i < l.names.len; i++)
        r.names += l.names.base[i] == 0;
    r.error = l.directories[0].error;
    r.no_memory = l.no_memory;
    memcpy(r.failures, l.failures, sizeof r.failures);
    listing_free(&l);
    return r;
}

static void set_fault(call kind, int error, int first, int count)
{
    fault.kind = kind;
    fault.error = error;
    fault.first = first;
    fault.count = count;
}

static void expect_all(result r)
{
    EXPECT(r.rows == FILES && r.names == 1 && r.error == 0, "%zu rows, %zu names, error %d", r.rows, r.names, r.error);
}

static void test_interrupted(void)
{
    for (call kind = 0; kind < MEMORY; kind++)
        for (int first = 0; first < 3; first++) {
            set_fault(kind, EINTR, first, 2);
            for (int untyped = 0; untyped < 2; untyped++)
                expect_all(list("", untyped));
        }
}

static void test_kernels_without_openat2(void)
{
    for (int error = 0; error < 2; error++) {
        set_fault(OPEN_BY_OPENAT2, error ? ENOSYS : EPERM, 0, INT32_MAX);
        expect_all(list("", false));
        int found = list("link", false).error;
        EXPECT(found == ENOTDIR || found == ELOOP, "error %d", found);
    }
}

static void test_entries_that_fail(void)
{
    const int errors[] = {EIO, EACCES, ESTALE, 0, -1, LISTING_ERRNOS};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        set_fault(LOOK, errors[i], 10, 3);
        result r = list("", true);
        EXPECT(r.rows + r.names == LISTED - 3 && r.error == 0, "%zu rows", r.rows);
        EXPECT(r.failures[errors[i] > 0 && errors[i] < LISTING_ERRNOS ? errors[i] : EIO] == 3, "not counted");
    }
    set_fault(LOOK, ENOENT, 10, 3);
    result r = list("", true);
    EXPECT(r.rows + r.names == LISTED - 3 && r.failures[ENOENT] == 0, "%zu rows", r.rows);
}

static void test_a_directory_that_fails(void)
{
    set_fault(READ_ENTRIES, EIO, 1, 1);
    result r = list("", false);
    EXPECT(r.error == EIO && r.rows > 0 && r.rows < FILES, "error %d, %zu rows", r.error, r.rows);
    set_fault(READ_ENTRIES, ENOENT, 0, 1); /* removed since it was opened */
    r = list("below", false);
    EXPECT(r.error == 0 && r.rows == 1, "error %d, %zu rows", r.error, r.rows);
    set_fault(OPEN_BY_OPENAT2, EACCES, 0, 1); /* may not be read: its own row alone */
    r = list("below", false);
    EXPECT(r.error == EACCES && r.rows == 1, "error %d, %zu rows", r.error, r.rows);
    const int without_row[] = {EMFILE, ENFILE, ENOENT, ENOTDIR, ELOOP};
    for (size_t i = 0; i < sizeof without_row / sizeof *without_row; i++) {
        set_fault(OPEN_BY_OPENAT2, without_row[i], 0, 1);
        r = list("below", false);
        EXPECT(r.error == without_row[i] && r.rows == 0, "error %d, %zu rows", r.error, r.rows);
    }
    set_fault(OPEN_BY_OPENAT2, EACCES, 0, 2);
    r = list("below", false);
    EXPECT(r.error == EACCES && r.rows == 0, "error %d, %zu rows", r.error, r.rows);
}

static void test_memory_that_is_out(void)
{
    int allocations;
    set_fault(MEMORY, ENOMEM, INT32_MAX, 0);
    expect_all(list("", false));
    allocations = fault.calls[MEMORY];
    for (int first = 0; first < allocations; first++) {
        set_fault(MEMORY, ENOMEM, first, 1);
        EXPECT(list("", false).no_memory, "allocation %d of %d", first, allocations);
    }
}

/* No descriptor is left open by any of this. */
static int next_descriptor(void)
{
    int fd = dup(root);
    close(fd);
    return fd;
}

int main(void)
{
    EXPECT(mkdtemp(top), "no directory");
    root = open(top, O_PATH | O_DIRECTORY);
    EXPECT(root >= 0 && mkdirat(root, "below", 0755) == 0 && symlinkat("below", root, "link") == 0, "no tree");
    for (int i = 1; i < FILES; i++) { /* the link is one */
        char name[32];
        snprintf(name, sizeof name, "file %d", i);
        EXPECT(mknodat(root, name, S_IFREG | 0644, 0) == 0, "no file");
    }
    int next = next_descriptor();
    set_fault(KINDS, 0, 0, 0);
    expect_all(list("", false));
    test_interrupted();
    test_kernels_without_openat2();
    test_entries_that_fail();
    test_a_directory_that_fails();
    test_memory_that_is_out();
    EXPECT(next_descriptor() == next, "a descriptor is left open");
    for (int i = 1; i < FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "file %d", i);
        unlinkat(root, name, 0);
    }
    EXPECT(unlinkat(root, "link", 0) == 0 && unlinkat(root, "below", AT_REMOVEDIR) == 0 && rmdir(top) == 0, "files are left");
    printf("listing: every %s, %s, %s, %s and %s failed\n", call_names[0], call_names[1], call_names[2], call_names[3], call_names[4]);
    return 0;
}
