# distutils: language = c
"""Directories read into JSON rows without the GIL; the walk over a tree is fusion.agent.scan's."""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport ENAMETOOLONG, errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cdef extern from "sys/stat.h" nogil:
    ctypedef struct struct_stat "struct stat":
        pass
    int fstat(int, struct_stat *)

cdef extern from "fcntl.h" nogil:
    int O_PATH
    int O_RDONLY

cdef extern from "unistd.h" nogil:
    int close(int)

cdef extern from "agent/listing.h" nogil:
    ctypedef struct text:
        char *base
        size_t len
    ctypedef struct listing_entry:
        size_t length
        char *name
    ctypedef struct listing:
        int fd
        bint untyped
        bint end
        int error
        size_t n_filled
        text rows
        text ends
        text names
        size_t n_rows
        size_t path_bytes
        uint32_t *failures
        bint failed
    size_t LISTING_MAX_PATH
    size_t LISTING_ERRNOS
    void listing_init(listing *)
    void listing_close(listing *)
    void listing_free(listing *)
    int listing_open_below(int, const char *, size_t, int)
    bint listing_row(text *, const char *, size_t, struct_stat *)
    bint listing_begin(listing *, int, const char *, size_t)
    void listing_fill(listing *)
    listing_entry *listing_at(listing *, size_t)
    bint listing_is_dots(listing_entry *)
    bint listing_is_directory(listing *, listing_entry *)
    void listing_leave_out(listing_entry *)
    bint listing_convert(listing *)


@cython.final
cdef class Piece:
    """Some entries of a directory.

    Attributes:
        count: how many rows.
        json: the rows, separated by commas.
        ends: where each row ends in json, as native 32-bit integers.
        path_bytes: the length of all their paths.
        directories: names of subdirectories, which have no row here.
        failures: errno -> how many entries could not be looked at.
        last: no entries are left.
        error: of the last one: the errno of why the directory could not be read to its end, or 0.
    """

    cdef readonly Py_ssize_t count
    cdef readonly bytes json
    cdef readonly bytes ends
    cdef readonly Py_ssize_t path_bytes
    cdef readonly list directories
    cdef readonly dict failures
    cdef readonly bint last
    cdef readonly int error


@cython.final
cdef class Reader:
    """Reads one directory after the other below `root`, an open descriptor; for one thread.

    Args:
        root: kept open by the caller for as long as the reader is used.
        path: how the rows call it.
        untyped: take the types of entries for unknown, as some file systems leave them.
    """

    cdef listing *_listing
    cdef int _root
    cdef bytes _path
    cdef bytes _stem

    def __cinit__(self, int root, bytes path not None, *, bint untyped=False):
        self._root = root
        self._path = path
        self._stem = path if path.endswith(b"/") else path + b"/"
        self._listing = <listing *>malloc(sizeof(listing))
        if self._listing == NULL:
            raise MemoryError
        listing_init(self._listing)
        self._listing.untyped = untyped

    def __dealloc__(self):
        if self._listing != NULL:
            listing_free(self._listing)
            free(self._listing)

    def open(self, bytes below not None):
        """Begins with the directory at this path below the root, "" for itself; returns its own row.

        No symbolic link is followed. Raises OSError.
        """
        cdef struct_stat status
        cdef bytes path = self._stem + below + b"/" if below else self._stem
        cdef const char *stem = PyBytes_AS_STRING(path)
        cdef size_t n = PyBytes_GET_SIZE(path)
        cdef int fd = self._open(below, O_RDONLY, &status)
        cdef bint enough
        with nogil:
            enough = listing_begin(self._listing, fd, stem, n)
            if enough:
                listing_fill(self._listing)
        if not enough:
            raise MemoryError
        return self._row(below, &status)

    def describe(self, bytes below not None):
        """The row of a directory that is not to be read, or must not be. Raises OSError."""
        cdef struct_stat status
        close(self._open(below, O_PATH, &status))
        return self._row(below, &status)

    def read(self, keep=None):
        """The next piece of the open directory, until one is the last.

        `keep(name, is_dir)` tells which entries count.
        """
        cdef listing *l = self._listing
        cdef bint enough
        if l.fd < 0:
            raise ValueError("no directory is open")
        if keep is not None:
            self._leave_out(keep)
        with nogil:
            enough = listing_convert(l)
            if not l.end:
                listing_fill(l)
        if not enough:
            raise MemoryError
        return self._piece()

    def close(self):
        """Closes the directory that is being read."""
        listing_close(self._listing)

    cdef int _open(self, bytes below, int flags, struct_stat *status) except -1:
        cdef const char *path = PyBytes_AS_STRING(below)
        cdef size_t n = PyBytes_GET_SIZE(below)
        cdef int fd = -1, error = ENAMETOOLONG
        if n == 0:
            path = "."
            n = 1
        if n + PyBytes_GET_SIZE(self._stem) <= LISTING_MAX_PATH:
            with nogil:
                fd = listing_open_below(self._root, path, n, flags)
                if fd >= 0 and fstat(fd, status) == 0:
                    return fd
                error = errno
                if fd >= 0:
                    close(fd)
        raise OSError(error, os.strerror(error))

    cdef bytes _row(self, bytes below, struct_stat *status):
        cdef bytes path = self._stem + below if below else self._path
        cdef text row
        memset(&row, 0, sizeof(row))
        if not listing_row(&row, PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path), status):
            raise MemoryError
        try:
            return PyBytes_FromStringAndSize(row.base, row.len)
        finally:
            free(row.base)

    cdef int _leave_out(self, keep) except -1:
        """Takes away what does not count of the entries that were filled in."""
        cdef listing *l = self._listing
        cdef listing_entry *entry
        cdef size_t at = 0
        cdef bint is_directory
        while at < l.n_filled:
            entry = listing_at(l, at)
            at += entry.length
            if listing_is_dots(entry):
                continue
            with nogil:
                is_directory = listing_is_directory(l, entry)
            if not keep(<bytes>entry.name, is_directory):
                listing_leave_out(entry)
        return 0

    cdef Piece _piece(self):
        cdef listing *l = self._listing
        cdef Piece piece = Piece.__new__(Piece)
        piece.count = l.n_rows
        piece.json = PyBytes_FromStringAndSize(l.rows.base, l.rows.len)
        piece.ends = PyBytes_FromStringAndSize(l.ends.base, l.ends.len)
        piece.path_bytes = l.path_bytes
        piece.directories = []
        if l.names.len:
            piece.directories = PyBytes_FromStringAndSize(l.names.base, l.names.len - 1).split(b"\0")
        piece.failures = {}
        if l.failed:
            piece.failures = {number: l.failures[number] for number in range(LISTING_ERRNOS) if l.failures[number]}
            memset(l.failures, 0, LISTING_ERRNOS * sizeof(uint32_t))
            l.failed = False
        piece.last = l.end and l.n_filled == 0
        if piece.last:
            piece.error = l.error
            listing_close(l)
        return piece
