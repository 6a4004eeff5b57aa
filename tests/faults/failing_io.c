/* Preloaded into a server: writes, syncs, renames and reads of chosen files fail, end the process or take long, as a mapped file says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum call { WRITE = 1, SYNC = 2, RENAME = 4, READ = 8 };
enum action { FAIL = 1, KILL_BEFORE, KILL_AFTER, SLEEP };

/* io_control.py has the same; `action` is written last, 0 means that nothing happens. */
struct control {
    _Atomic uint32_t action;
    uint32_t calls;         /* which kinds, as bits */
    int32_t error;          /* FAIL: errno */
    uint32_t milliseconds;  /* SLEEP: before the call, as long as the order stands */
    uint64_t first, count;  /* the calls acted upon, of those that match, from 1 */
    _Atomic uint64_t seen;  /* calls that matched */
    _Atomic uint64_t acted; /* and were acted upon */
    char files[256];        /* a part of the path, behind which a '$' stands */
};

static struct control *control;

__attribute__((constructor)) static void map_control(void) {
    const char *name = getenv("FAILING_IO_CONTROL");
    int fd = name == NULL ? -1 : open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        control = mapped;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* What shall happen to this call: 0 or an action; SLEEP and KILL_BEFORE have happened when it returns. */
static int struck(enum call call, const char *path) {
    uint32_t action = atomic_load(&control->action);
    char marked[4200];
    if (action == 0 || !(control->calls & call))
        return 0;
    snprintf(marked, sizeof marked, "%s$", path);
    if (strstr(marked, control->files) == NULL)
        return 0;
    uint64_t number = atomic_fetch_add(&control->seen, 1) + 1;
    if (number < control->first || number - control->first >= control->count)
        return 0;
    atomic_fetch_add(&control->acted, 1);
    if (action == KILL_BEFORE)
        die();
    if (action == SLEEP)
        for (uint32_t left = control->milliseconds; left > 0 && atomic_load(&control->action) == SLEEP; left--)
            usleep(1000);
    if (action == FAIL)
        errno = control->error;
    return (int)action;
}

static int struck_fd(enum call call, int fd) {
    char link[32], path[4096];
    int kept = errno;
    if (control == NULL || atomic_load(&control->action) == 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (length < 0)
        return 0;
    path[length] = 0;
    return struck(call, path);
}

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        abort();
    return found;
}

/* The function itself: TYPE NAME PARAMETERS; struck by WHAT; the real one gets ARGUMENTS. */
#define INTERCEPT(TYPE, NAME, PARAMETERS, ARGUMENTS, WHAT) \
    TYPE NAME PARAMETERS { \
        static TYPE(*real) PARAMETERS; \
        if (real == NULL) \
            real = (TYPE(*) PARAMETERS)next(#NAME); \
        int what = control == NULL ? 0 : (WHAT); \
        if (what == FAIL) \
            return -1; \
        TYPE result = real ARGUMENTS; \
        if (what == KILL_AFTER) \
            die(); \
        return result; \
    }

INTERCEPT(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), struck_fd(WRITE, fd))
INTERCEPT(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), struck_fd(WRITE, fd))
INTERCEPT(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), struck_fd(WRITE, fd))
INTERCEPT(ssize_t, read, (int fd, void *data, size_t size), (fd, data, size), struck_fd(READ, fd))
INTERCEPT(ssize_t, pread, (int fd, void *data, size_t size, off_t at), (fd, data, size, at), struck_fd(READ, fd))
INTERCEPT(ssize_t, pread64, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at), struck_fd(READ, fd))
INTERCEPT(int, fsync, (int fd), (fd), struck_fd(SYNC, fd))
INTERCEPT(int, fdatasync, (int fd), (fd), struck_fd(SYNC, fd))
INTERCEPT(int, rename, (const char *from, const char *to), (from, to), struck(RENAME, from))
INTERCEPT(int, renameat, (int at, const char *from, int to_at, const char *to), (at, from, to_at, to), struck(RENAME, from))
