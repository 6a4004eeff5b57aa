# distutils: language = c
"""Directories read into JSON rows without the GIL; the walk over a tree is fusion.agent.scan's."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef extern from "Python.h":
    str PyUnicode_DecodeFSDefault(const char *)

cdef extern from "agent/listing.h" nogil:
    size_t LISTING_DIRECTORIES
    size_t LISTING_ERRNOS
    ctypedef struct text:
        char *base
        size_t len
    ctypedef struct listing_entry:
        size_t length
        char *name
    ctypedef struct listing_directory:
        const char *below
        size_t below_len
        bint skip
        int error
        size_t row
        size_t row_len
        size_t names
        size_t names_len
    ctypedef struct listing:
        listing_directory *directories
        size_t n_directories
        size_t done
        text rows_above
        text names
        size_t n_filled
        text rows
        text ends
        size_t n_rows
        size_t path_bytes
        uint32_t *failures
        bint failed
        bint no_memory
    void listing_init(listing *, int, const char *, size_t, bint)
    void listing_close(listing *)
    void listing_free(listing *)
    listing_entry *listing_at(listing *, size_t)
    bint listing_is_dots(listing_entry *)
    bint listing_has_type(listing_entry *)
    bint listing_is_directory(listing *, listing_entry *)
    void listing_leave_out(listing_entry *)
    void listing_convert(listing *)
    bint listing_fill(listing *)
    void listing_clear(listing *)
    bint listing_is_full(listing *)

DIRECTORIES = LISTING_DIRECTORIES  # that a reader takes at once


@cython.auto_pickle(False)
@cython.final
cdef class Piece:
    """What was read in one go; the rows of directories without subdirectories are among the rows.

    Attributes:
        count: how many rows.
        json: the rows, separated by commas.
        ends: where each row ends in json, as native 32-bit integers.
        path_bytes: the length of all their paths.
        done: how many of the reader's directories are read to their end, or cannot be.
        parents: by the number of a directory that has subdirectories: its own row, and their names.
        errors: by the number of a directory: the errno of why it was not read, or not to its end.
        failures: by errno: how many entries could not be looked at.
    """

    cdef readonly Py_ssize_t count
    cdef readonly bytes json
    cdef readonly bytes ends
    cdef readonly Py_ssize_t path_bytes
    cdef readonly Py_ssize_t done
    cdef readonly dict parents
    cdef readonly dict errors
    cdef readonly dict failures


@cython.final
cdef class Reader:
    """Reads directories below a root; for one thread.

    Args:
        root: a descriptor of it, kept open by the caller for as long as the reader is used.
        path: how rows call it.
        untyped: take the types of entries for unknown, as some file systems leave them.
    """

    cdef listing *_listing
    cdef bytes _path
    cdef list _directories
    cdef object _keep  # tells which entries of the directory at _kept count
    cdef size_t _kept

    def __cinit__(self, int root, bytes path not None, *, bint untyped=False):
        self._path = path
        self._directories = []
        self._listing = <listing *>malloc(sizeof(listing))
        if self._listing == NULL:
            raise MemoryError
        listing_init(self._listing, root, PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path), untyped)

    def __dealloc__(self):
        if self._listing != NULL:
            listing_free(self._listing)
            free(self._listing)

    def begin(self, list directories not None, skipped=frozenset()):
        """Begins with these directories, at most DIRECTORIES: paths below the root, b"" for itself.

        `skipped` are the numbers of those whose content is left out.
        """
        cdef listing *l = self._listing
        cdef size_t i
        cdef bytes below
        directories = [<bytes?>below for below in directories]
        if <size_t>len(directories) > LISTING_DIRECTORIES:
            raise ValueError(f"at most {LISTING_DIRECTORIES} directories at once, not {len(directories)}")
        listing_close(l)
        l.done = l.n_directories = l.n_filled = 0
        l.rows_above.len = l.names.len = 0
        self._keep = None
        self._directories = directories
        for i in range(<size_t>len(directories)):
            below = directories[i]
            memset(&l.directories[i], 0, sizeof(listing_directory))
            l.directories[i].below = PyBytes_AS_STRING(below)
            l.directories[i].below_len = PyBytes_GET_SIZE(below)
            l.directories[i].skip = i in skipped
        l.n_directories = len(directories)

    def read(self, within=None):
        """The next piece, until its `done` says that it was the last. No symbolic link is followed.

        `within` is called with each directory's path below the root and returns a function of a name and whether
        that is a directory, which tells what counts.
        """
        cdef listing *l = self._listing
        cdef size_t before = l.done
        cdef bint more
        listing_clear(l)
        if within is None:
            with nogil:
                while listing_fill(l):
                    listing_convert(l)
                    if listing_is_full(l):
                        break
        else:
            with nogil:
                more = listing_fill(l)
            while more:
                self._leave_out(within)
                with nogil:
                    listing_convert(l)
                    more = not listing_is_full(l) and listing_fill(l)
        if l.no_memory:
            raise MemoryError
        return self._piece(before)

    cdef int _leave_out(self, within) except -1:
        """Takes away what does not count of the entries that were filled in."""
        cdef listing *l = self._listing
        cdef listing_entry *entry
        cdef size_t at = 0
        cdef bint is_directory
        if self._keep is None or self._kept != l.done:
            self._keep = within(self._directories[l.done])
            self._kept = l.done
        while at < l.n_filled:
            entry = listing_at(l, at)
            at += entry.length
            if listing_is_dots(entry):
                continue
            if listing_has_type(entry):
                is_directory = listing_is_directory(l, entry)
            else:
                with nogil:
                    is_directory = listing_is_directory(l, entry)
            if not self._keep(PyUnicode_DecodeFSDefault(entry.name), is_directory):
                listing_leave_out(entry)
        return 0

    cdef Piece _piece(self, size_t before):
        cdef listing *l = self._listing
        cdef listing_directory *directory
        cdef Piece piece = Piece.__new__(Piece)
        cdef size_t i
        piece.count = l.n_rows
        piece.json = PyBytes_FromStringAndSize(l.rows.base, l.rows.len)
        piece.ends = PyBytes_FromStringAndSize(l.ends.base, l.ends.len)
        piece.path_bytes = l.path_bytes
        piece.done = l.done
        piece.parents = {}
        piece.errors = {}
        for i in range(before, l.done):
            directory = &l.directories[i]
            if directory.names_len:
                piece.parents[i] = (
                    PyBytes_FromStringAndSize(l.rows_above.base + directory.row, directory.row_len),
                    PyBytes_FromStringAndSize(l.names.base + directory.names, directory.names_len - 1).split(b"\0"),
                )
            if directory.error:
                piece.errors[i] = directory.error
        piece.failures = {}
        if l.failed:
            piece.failures = {number: l.failures[number] for number in range(LISTING_ERRNOS) if l.failures[number]}
            memset(l.failures, 0, LISTING_ERRNOS * sizeof(uint32_t))
            l.failed = False
        return piece
