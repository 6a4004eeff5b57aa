# distutils: language = c
"""The compiled path index: the metadata of a whole file tree in memory.

Structs and functions that need no Python live in _core/*.h; the classes here check arguments, drop the GIL, take the index's
lock and call them. Waiting for the lock while holding the GIL would deadlock with a holder that wants the GIL, so a lock is
only ever tried with the GIL held, and waited for without it.
"""

import operator
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import namedtuple

from fusion import events as wire
from fusion.cursors import make_cursor, read_cursor
from fusion.errors import CursorExpired, DamagedBatch, DamagedFile, InvalidField
from fusion.files import replaced_file
from fusion.path_patterns import path_search
from fusion.patterns import compile_pattern

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo, PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.errno cimport errno
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy, memset

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef extern from "_core/rows.h" nogil:
    size_t FUSION_MAX_PATH
    ctypedef enum fusion_source:
        FUSION_MESSAGE
    ctypedef struct fusion_row:
        const char *path
        int64_t size
        double mtime
        double ctime
        uint32_t path_len
        uint32_t event
        bint is_dir
        bint is_delete
    ctypedef struct fusion_event:
        int64_t index
        bint is_delete
    ctypedef struct fusion_batch:
        fusion_row *rows
        fusion_event *events
        size_t n_rows
        size_t n_events
        const char *session_id
        size_t session_id_len
        fusion_source source
        bint is_snapshot_end
    void batch_init(fusion_batch *)
    void batch_free(fusion_batch *)
    fusion_row *batch_add_row(fusion_batch *)
    fusion_event *batch_add_event(fusion_batch *)

cdef extern from "_core/path.h" nogil:
    bint path_is_normal(const char *, size_t)
    size_t path_normalise(const char *, size_t, char *)

cdef extern from "_core/double_read.h" nogil:
    const char *double_read(const char *, const char *, double *)
    const char *int64_read(const char *, const char *, int64_t *)

cdef extern from "_core/double_write.h" nogil:
    enum:
        DOUBLE_WRITE_MAX
    char *double_write(char *, double)

cdef extern from "_core/scanner.h" nogil:
    enum:
        SCAN_OK
        SCAN_NO_MEMORY
    int scan_body(const char *, size_t, fusion_batch *)

cdef extern from "_core/packed.h" nogil:
    enum:
        PACKED_OK
        PACKED_DAMAGED
        PACKED_TOO_LARGE
    ctypedef struct packed_parts:
        pass
    int packed_make(packed_parts *, const fusion_batch *)
    size_t packed_bytes(const packed_parts *)
    void packed_join(const packed_parts *, char *)
    void packed_free(packed_parts *)
    int batch_unpack(const char *, size_t, fusion_batch *)

cdef extern from "_core/simd.h" nogil:
    ctypedef enum simd_level:
        pass
    const char *simd_names[]
    simd_level simd_in_use
    simd_level simd_best()
    simd_level simd_choose(const char *)

cdef extern from "_core/times_write.h" nogil:
    enum:
        TIMES_WRITE_MAX
    char *times_write(char *, double, double, simd_level)

cdef extern from "pthread.h" nogil:
    ctypedef struct pthread_rwlock_t:
        pass
    int pthread_rwlock_rdlock(pthread_rwlock_t *)
    int pthread_rwlock_tryrdlock(pthread_rwlock_t *)
    int pthread_rwlock_wrlock(pthread_rwlock_t *)
    int pthread_rwlock_unlock(pthread_rwlock_t *)

cdef extern from "_core/nodes.h" nogil:
    enum:
        NODE_LIVE
        NODE_DIR
        NODE_DESCRIBED
        SLOT_PARTITIONS
    uint32_t NIL
    uint32_t OLDEST_NONE
    ctypedef struct region:
        char *base
    ctypedef struct region_ahead:
        pass
    void region_back(region_ahead)
    ctypedef struct arena:
        region blob
        region sync
        size_t used
        size_t free_bytes
    ctypedef struct slot_partition:
        pass
    ctypedef struct slot_table:
        size_t bytes
    ctypedef struct pathmap:
        size_t bytes
    ctypedef struct view_set:
        pass
    size_t views_bytes(const view_set *)
    ctypedef struct anchor_set:
        pass
    size_t anchors_bytes(const anchor_set *)
    ctypedef struct fusion_node:
        uint32_t parent
        uint32_t dir
        uint16_t flags
        uint16_t name_len
        int64_t size
        double mtime
        double ctime
    ctypedef struct fusion_dir:
        uint64_t bytes_lo
        uint32_t bytes_hi
        uint64_t version
        uint32_t files
        uint32_t dirs
    ctypedef struct fusion_index:
        fusion_node *nodes
        fusion_dir *dirs
        uint32_t n_nodes
        uint32_t n_dirs
        uint32_t live_nodes
        arena names
        arena paths
        slot_table slots
        uint64_t seed
        uint64_t mask
        uint64_t revision
        bint window
        pathmap tombstones
        pathmap overridden
        uint32_t longest_path
        view_set views
        anchor_set anchors
        pthread_rwlock_t lock
    bint node_is_dir(const fusion_node *)
    uint32_t find_path(const fusion_index *, const char *, size_t)
    size_t node_path_length(const fusion_index *, uint32_t)
    void node_write_path(const fusion_index *, uint32_t, char *)

cdef extern from "_core/index.h" nogil:
    bint index_init(fusion_index *, uint64_t, uint64_t)
    void index_release(fusion_index *)
    void index_clear(fusion_index *)
    uint32_t index_oldest(fusion_index *)
    region_ahead index_plan(fusion_index *)

cdef extern from "_core/apply.h" nogil:
    enum:
        APPLY_OK
    ctypedef struct apply_result:
        uint64_t upserts
        uint64_t deletes
        uint64_t ignored
        uint64_t removed
        bint ended
    void rows_prepare(fusion_batch *, uint64_t, uint64_t)
    int index_apply(fusion_index *, const fusion_batch *, double, apply_result *)
    void index_begin_snapshot(fusion_index *)

cdef extern from "_core/text.h" nogil:
    ctypedef struct text:
        char *base
        size_t len
        size_t cap
    bint text_room(text *, size_t)

cdef extern from "_core/tree.h" nogil:
    enum:
        TREE_OK
        TREE_FULL
        TREE_NO_MEMORY
    ctypedef struct tree_shape:
        pass
    tree_shape tree_shape_of(bint, uint32_t, uint32_t, bint)
    ctypedef struct tree_cursor:
        uint32_t stop
        bint done
        size_t wanted
        uint64_t nodes
    bint tree_open(tree_cursor *, fusion_index *, uint32_t, tree_shape)
    void tree_end(tree_cursor *)
    void tree_close(tree_cursor *)
    bint tree_keep(tree_cursor *)
    bint tree_resume(tree_cursor *)
    int tree_write(tree_cursor *, text *)
    int tree_write_all(tree_cursor *, text *)

cdef extern from "_core/node_json.h" nogil:
    enum:
        FIELDS_PATH
        FIELDS_ALL

cdef extern from "_core/pages.h" nogil:
    enum:
        PAGE_OK
        PAGE_FOREIGN
        PAGE_EXPIRED
        PAGE_NO_MEMORY
    ctypedef struct page_mark:
        pass
    ctypedef struct page_cursor:
        page_mark mark
    ctypedef struct page_request:
        uint64_t instance
        const char *path
        size_t path_len
        tree_shape shape
        uint32_t limit
    size_t page_path_len(const page_mark *)
    int page_read(page_cursor *, const char *, size_t, const page_request *)
    uint64_t page_most(const fusion_index *, uint32_t, const page_request *)
    int page_open(tree_cursor *, uint32_t, const page_request *, const page_cursor *, page_cursor *)

cdef extern from "_core/search.h" nogil:
    enum:
        SEARCH_OK
        SEARCH_END
    ctypedef struct search_state:
        pass
    int search_init(search_state *, const char *, size_t)
    void search_free(search_state *)
    uint32_t search_next(search_state *, const char *, size_t, const uint32_t *)

cdef extern from "_core/glob.h" nogil:
    ctypedef struct glob_program:
        pass
    int glob_init(glob_program *, const char *, size_t)

cdef extern from "_core/ranked.h" nogil:
    ctypedef struct ranked:
        char *path
        uint32_t path_len
        uint32_t id
        uint16_t name_len
    ctypedef struct ranking:
        ranked *items
        size_t n

cdef extern from "_core/find.h" nogil:
    ctypedef enum find_way:
        FIND_NAMES
    ctypedef enum find_sort:
        FIND_UNSORTED
        FIND_BY_PATH
    ctypedef enum find_status:
        FIND_OK
        FIND_MORE
        FIND_BUSY
        FIND_UNKNOWN
        FIND_LATE
    ctypedef struct finder:
        find_way way
        bint by_walk
        bint files
        bint directories
        int64_t min_size
        int64_t max_size
        double after
        double before
        char *top_path
        size_t top_path_len
        uint64_t revision
        uint64_t total
        uint64_t later
        size_t n_ids
        size_t wanted
        search_state names
        glob_program paths
        ranked last
    ctypedef struct find_copied:
        fusion_node node
        size_t path_len
    void find_init(finder *)
    void find_close(finder *)
    void find_set_order(finder *, find_sort, bint, uint64_t)
    uint64_t find_last_key(const finder *)
    bint find_continue(finder *, uint64_t, const char *, size_t, size_t)
    int64_t find_clock()
    find_status find_collect(finder *, fusion_index *, bint, int64_t)
    find_status find_write(finder *, text *, bint)
    find_status find_copy(finder *, text *, size_t)

cdef extern from "_core/largest.h" nogil:
    ctypedef enum largest_status:
        LARGEST_OK
        LARGEST_MORE
        LARGEST_UNKNOWN
    ctypedef struct largest_entry:
        fusion_node node
        uint64_t bytes_lo
        uint32_t bytes_hi
        uint32_t files
        uint32_t dirs
    ctypedef struct largest:
        ranking children
        ranking files
        largest_entry *entries
        fusion_node node
        fusion_dir sums
        uint64_t revision
    void largest_init(largest *, size_t)
    void largest_close(largest *)
    largest_status largest_step(largest *, fusion_index *, const char *, size_t)

cdef extern from "_core/gather.h" nogil:
    ctypedef enum gather_status:
        GATHER_OK
        GATHER_UNKNOWN
    ctypedef struct gather:
        uint32_t next
    gather_status gather_begin(gather *, fusion_index *, const char *, size_t)
    void gather_close(gather *)
    gather_status gather_next(gather *, int64_t *, double *, size_t, size_t *)

cdef extern from "_core/saved.h" nogil:
    enum:
        SAVED_OK
        SAVED_FAILED
        SAVED_DAMAGED
        SAVED_NOTE
    size_t SAVED_NOTE_MAX
    ctypedef struct saved_header:
        uint64_t seed
        uint64_t mask
        uint64_t *bytes
    ctypedef struct saved_writer:
        bint done
    bint saved_begin(saved_writer *, fusion_index *, const char *, size_t)
    void saved_end(saved_writer *)
    int saved_open(saved_writer *, int, bint)
    int saved_write_step(saved_writer *)
    uint64_t saved_bytes(const saved_writer *)
    int saved_read_header(int, saved_header *, const char **)
    int saved_read_section(int, const saved_header *, int, char *)
    int saved_verify(int, const char **)
    int index_load(fusion_index *, int, const saved_header *, const char **)

cdef extern from "_core/check.h" nogil:
    bint index_check(fusion_index *, char *, size_t)


Applied = namedtuple("Applied", "rows upserts deletes ignored removed snapshot_ended revision", module="fusion")
Applied.__doc__ = """What one batch did.

rows: rows in the batch; upserts: upsert rows applied; deletes: delete rows applied, whether or not the path was there;
ignored: snapshot rows that lost to a message or to a message's delete; removed: nodes that the snapshot's end took away;
snapshot_ended: whether a snapshot ended; revision: the index's revision afterwards.
"""

Stats = namedtuple("Stats", "files directories bytes version", module="fusion")
Stats.__doc__ = """Sums over a subtree: files; directories, the top one counted; bytes, the sum of the files' sizes;
version, the index revision of the newest change in it.
"""

Child = namedtuple("Child", "name path is_dir bytes files directories", module="fusion")
Child.__doc__ = """What a child of a directory takes up: name; path; is_dir; bytes, the sum of the sizes of all files at or below it;
files, at or below it; directories, itself counted if it is one.
"""

Usage = namedtuple("Usage", "stats revision children files", module="fusion")
Usage.__doc__ = """What takes the bytes of a subtree: its Stats; the index's revision; the largest children, each a Child; the largest files, Nodes."""

cdef extern from *:
    """
    /* tuple.__new__(type, values): a named tuple without the Python frame of its own __new__, which costs half a small batch. */
    static PyObject *new_tuple(PyObject *type, PyObject *values)
    {
        PyObject *arguments = PyTuple_Pack(1, values);
        PyObject *made = arguments ? PyTuple_Type.tp_new((PyTypeObject *)type, arguments, NULL) : NULL;
        Py_XDECREF(arguments);
        return made;
    }
    static double seconds_now(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
    """
    object new_tuple(object type, object values)
    double seconds_now() nogil

cdef tuple SOURCES = ("snapshot", "message", "anomaly")
cdef tuple NODE_FIELDS = ("name", "content_type", "path", "size", "modified_time", "created_time")  # in the order of their bits
cdef size_t CHUNK_BYTES = 256 * 1024
cdef uint64_t SMALL_TREE = 2000  # nodes; a tree of no more is written without releasing the GIL,
cdef size_t SMALL_TREE_BYTES = 512 * 1024  # if it is no longer than that
cdef uint32_t PAGE_LIMIT = 10_000  # nodes that a page may be limited to
cdef size_t SMALL_BODY = 4096  # bytes; less is decoded without releasing the GIL
cdef Py_ssize_t COLUMN_ROWS = 4096  # rows of a columnar upsert applied under one lock
cdef Py_ssize_t FILE_COLUMNS = 65536  # files of one slice of file_columns()
cdef Py_ssize_t MOST_LARGEST = 1000  # of largest()
cdef size_t SHORT_ANSWER = 500  # nodes; fewer are written without releasing the GIL


@cython.final
@cython.freelist(64)
@cython.auto_pickle(False)
cdef class Node:
    """One file or directory: name, path, is_dir, size (bytes), modified_time, created_time (seconds since the epoch).

    Bytes of names that are not UTF-8 are surrogate escapes, as os.fsdecode writes them.
    """

    cdef readonly str name
    cdef readonly str path
    cdef readonly bint is_dir
    cdef readonly int64_t size
    cdef readonly double modified_time
    cdef readonly double created_time

    def _astuple(self):
        return (self.name, self.path, self.is_dir, self.size, self.modified_time, self.created_time)

    def __eq__(self, other):
        return isinstance(other, Node) and self._astuple() == (<Node>other)._astuple()

    def __hash__(self):
        return hash(self._astuple())

    def __repr__(self):
        return (f"Node(name={self.name!r}, path={self.path!r}, is_dir={self.is_dir}, size={self.size}, "
                f"modified_time={self.modified_time!r}, created_time={self.created_time!r})")


cdef Node make_node(const fusion_node *n, const char *path, size_t length):
    cdef Node node = Node.__new__(Node)
    cdef size_t name_len = n.name_len
    node.path = PyUnicode_DecodeUTF8(path, <Py_ssize_t>length, "surrogateescape")
    node.name = PyUnicode_DecodeUTF8(path + length - name_len, <Py_ssize_t>name_len, "surrogateescape")
    node.is_dir = node_is_dir(n)
    node.size = n.size
    node.modified_time = n.mtime
    node.created_time = n.ctime
    return node


@cython.final
@cython.freelist(8)
cdef class Batch:
    """A decoded push: rows in order, checked and with normalised paths, not applied to anything yet.

    Made by decode(), scan(), parse() or unpack(). Holds on to the body. Applying prepares it for one index, so only one thread at a time
    can do that: another one gets RuntimeError.
    """

    cdef fusion_batch rows
    cdef object body
    cdef bytes packed  # once it was asked for
    cdef bint busy  # being applied; set and tested with the GIL held
    cdef readonly Py_ssize_t nbytes

    def __cinit__(self):
        batch_init(&self.rows)

    def __dealloc__(self):
        batch_free(&self.rows)

    def __init__(self):
        raise TypeError("batches are made by Batch.decode, Batch.scan, Batch.parse or Batch.unpack")

    @staticmethod
    def scan(bytes body not None):
        """The batch in `body` if the scanner takes it, None if it declines (which says nothing about the body)."""
        cdef Batch batch = Batch.__new__(Batch)
        cdef const char *start = PyBytes_AS_STRING(body)
        cdef size_t n = <size_t>PyBytes_GET_SIZE(body)
        cdef int status
        if n <= SMALL_BODY:
            status = scan_body(start, n, &batch.rows)
        else:
            with nogil:
                status = scan_body(start, n, &batch.rows)
        if status == SCAN_NO_MEMORY:
            raise MemoryError
        if status != SCAN_OK:
            return None
        batch.body = body
        batch.nbytes = <Py_ssize_t>n
        return batch

    @staticmethod
    def parse(bytes body not None):
        """The batch in `body` by the complete, slower way. Raises the errors of fusion.errors: MalformedBody, InvalidField."""
        cdef Batch batch = Batch.__new__(Batch)
        cdef fusion_row *row
        cdef fusion_event *event
        cdef Py_ssize_t i
        cdef bytes path
        cdef Py_ssize_t n
        parsed = wire.parse(body)
        batch.rows.session_id = PyUnicode_AsUTF8AndSize(parsed.session_id, &n)
        batch.rows.session_id_len = <size_t>n
        batch.rows.source = <fusion_source><int>SOURCES.index(parsed.source_type)
        batch.rows.is_snapshot_end = parsed.is_snapshot_end
        for is_delete, index in parsed.events:
            event = batch_add_event(&batch.rows)
            if event == NULL:
                raise MemoryError
            event.is_delete = is_delete
            event.index = index
        paths = parsed.paths
        for i in range(len(paths)):
            row = batch_add_row(&batch.rows)
            if row == NULL:
                raise MemoryError
            path = paths[i]
            row.path = PyBytes_AS_STRING(path)
            row.path_len = <uint32_t>PyBytes_GET_SIZE(path)
            row.size = parsed.sizes[i]
            row.mtime = parsed.modified_times[i]
            row.ctime = parsed.created_times[i]
            row.is_dir = parsed.is_dir[i]
            row.event = parsed.row_events[i]
            row.is_delete = batch.rows.events[row.event].is_delete
        batch.body = parsed
        batch.nbytes = len(body)
        return batch

    @staticmethod
    def decode(bytes body not None):
        """The batch in `body`: scan(), or where that declines parse()."""
        batch = Batch.scan(body)
        return batch if batch is not None else Batch.parse(body)

    @staticmethod
    def unpack(bytes packed not None):
        """The batch that pack() packed; its nbytes are those of `packed`.

        Raises DamagedBatch (a ValueError) unless `packed` is a batch that could have been decoded, and is that alone: it may
        come from anywhere.
        """
        cdef Batch batch = Batch.__new__(Batch)
        cdef const char *start = PyBytes_AS_STRING(packed)
        cdef size_t n = <size_t>PyBytes_GET_SIZE(packed)
        cdef int status
        if n <= SMALL_BODY:
            status = batch_unpack(start, n, &batch.rows)
        else:
            with nogil:
                status = batch_unpack(start, n, &batch.rows)
        raise_for_packed(status)
        batch.body = packed
        batch.nbytes = <Py_ssize_t>n
        return batch

    def pack(self):
        """The batch as bytes for a journal, a few a row: equal batches give equal bytes, wherever they come from.

        They are kept, so that the next call finds them. Any thread may, also while the batch is applied. Raises ValueError when the
        paths have more than 1 GiB.
        """
        cdef packed_parts parts
        cdef bytes packed
        cdef char *target
        cdef int status
        cdef bint small = self.nbytes <= <Py_ssize_t>SMALL_BODY
        if self.packed is not None:
            return self.packed
        if small:
            status = packed_make(&parts, &self.rows)
        else:
            with nogil:
                status = packed_make(&parts, &self.rows)
        raise_for_packed(status)
        try:
            packed = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>packed_bytes(&parts))
            target = PyBytes_AS_STRING(packed)
            if small:
                packed_join(&parts, target)
            else:
                with nogil:
                    packed_join(&parts, target)
        finally:
            packed_free(&parts)
        self.packed = packed
        return packed

    @property
    def session_id(self):
        """As sent."""
        return PyUnicode_DecodeUTF8(self.rows.session_id, <Py_ssize_t>self.rows.session_id_len, NULL)

    @property
    def source_type(self):
        """`snapshot`, `message` or `anomaly`."""
        return SOURCES[<int>self.rows.source]

    @property
    def is_snapshot_end(self):
        return bool(self.rows.is_snapshot_end)

    @property
    def n_rows(self):
        return self.rows.n_rows

    @property
    def max_index(self):
        """The highest `index` above 0 of its events, else -1."""
        cdef int64_t highest = -1
        cdef size_t i
        for i in range(self.rows.n_events):
            if self.rows.events[i].index > 0 and self.rows.events[i].index > highest:
                highest = self.rows.events[i].index
        return highest

    @property
    def last_index(self):
        """The `index` of its last event with one above 0, else -1."""
        cdef size_t i = self.rows.n_events
        while i:
            i -= 1
            if self.rows.events[i].index > 0:
                return self.rows.events[i].index
        return -1

    def to_list(self):
        """The rows as tuples (is_delete, index, path bytes, size, modified_time, created_time, is_dir)."""
        rows = []
        cdef size_t i
        cdef const fusion_row *row
        for i in range(self.rows.n_rows):
            row = &self.rows.rows[i]
            rows.append((bool(row.is_delete), self.rows.events[row.event].index, row.path[:row.path_len], row.size,
                         row.mtime, row.ctime, bool(row.is_dir)))
        return rows


cdef int raise_for_packed(int status) except -1:
    """The exception for a status of packed.h."""
    if status == PACKED_OK:
        return 0
    if status == PACKED_DAMAGED:
        raise DamagedBatch
    if status == PACKED_TOO_LARGE:
        raise ValueError("the paths of a packed batch have 1 GiB at most")
    raise MemoryError


cdef struct path_arg:
    const char *path
    size_t length
    char *owned  # to be freed, or NULL


cdef object encoded_path(object path):
    """What holds a path's bytes: the str itself when it is UTF-8, else its surrogate-escaped bytes; None when it has neither."""
    if isinstance(path, str):
        if str.isascii(path):
            return path
        try:
            return str.encode(path, "utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return None
    if isinstance(path, bytes):
        return path
    raise TypeError(f"a path is str or bytes, not {type(path).__name__}")


cdef int path_bytes(object holder, const char **start, size_t *length) except -1:
    """The bytes in what encoded_path returned."""
    cdef Py_ssize_t n
    if isinstance(holder, str):
        start[0] = PyUnicode_AsUTF8AndSize(holder, &n)
        length[0] = <size_t>n
    else:
        start[0] = PyBytes_AS_STRING(holder)
        length[0] = <size_t>PyBytes_GET_SIZE(holder)
    return 0


cdef bytes normalised(const char *path, size_t length):
    """The normalised path, which is at most one byte longer."""
    cdef bytes result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>length + 1)
    return result[:path_normalise(path, length, PyBytes_AS_STRING(result))]


cdef int open_path(object holder, path_arg *arg) except -1:
    """A normalised path to look up; close_path frees it. 0 when it cannot be the path of a node."""
    arg.owned = NULL
    if holder is None:
        return 0
    path_bytes(holder, &arg.path, &arg.length)
    if path_is_normal(arg.path, arg.length):
        return arg.length <= FUSION_MAX_PATH
    arg.owned = <char *>malloc(arg.length + 1)
    if arg.owned == NULL:
        raise MemoryError
    arg.length = path_normalise(arg.path, arg.length, arg.owned)
    arg.path = arg.owned
    if arg.length > FUSION_MAX_PATH:
        free(arg.owned)
        arg.owned = NULL
        return 0
    return 1


cdef inline void close_path(path_arg *arg) noexcept nogil:
    free(arg.owned)


cdef object column(str name, object values, Py_ssize_t n, str kinds, object dtype):
    """A contiguous NumPy column of `n` values, or ValueError/TypeError in words."""
    import numpy as np

    array = np.asarray(values)
    if array.ndim != 1 or array.shape[0] != n:
        raise ValueError(f"{name}: {n} values are needed, one per path, not an array of shape {array.shape}")
    if n and array.dtype.kind not in kinds:
        raise TypeError(f"{name}: {np.dtype(dtype)} values are needed, not {array.dtype}")
    if array.dtype.kind == "u" and n and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: values must not exceed 2**63 - 1")
    return np.ascontiguousarray(array, dtype=dtype)


cdef struct facts:
    uint32_t live_nodes
    uint32_t n_nodes
    uint32_t n_dirs
    uint64_t revision
    bint window
    size_t names
    size_t paths
    size_t slots
    size_t tombstones
    size_t views
    size_t anchors
    uint32_t longest_path


cdef void copy_facts(const fusion_index *ix, facts *found) noexcept nogil:
    found.live_nodes = ix.live_nodes
    found.n_nodes = ix.n_nodes
    found.n_dirs = ix.n_dirs
    found.revision = ix.revision
    found.window = ix.window
    found.names = ix.names.used + ix.names.free_bytes
    found.paths = ix.paths.used + ix.paths.free_bytes
    found.slots = ix.slots.bytes
    found.tombstones = ix.tombstones.bytes + ix.overridden.bytes
    found.views = views_bytes(&ix.views)
    found.anchors = anchors_bytes(&ix.anchors)
    found.longest_path = ix.longest_path


cdef object make_stats(const fusion_node *node, const fusion_dir *sums):
    """Stats of a node, whose directory record or, for a file, whose directory's `sums` is."""
    if not node_is_dir(node):
        return Stats(1, 0, node.size, sums.version)
    return Stats(sums.files, <object>sums.dirs + 1, (<object>sums.bytes_hi << 64) + sums.bytes_lo, sums.version)


cdef uint32_t copy_node(const fusion_index *ix, const path_arg *arg, fusion_node *node, fusion_dir *sums) noexcept nogil:
    cdef uint32_t id = find_path(ix, arg.path, arg.length)
    if id != NIL:
        node[0] = ix.nodes[id]
        sums[0] = ix.dirs[node.dir if node_is_dir(node) else ix.nodes[node.parent].dir]
    return id


@cython.final
cdef class PathIndex:
    """The metadata of a file tree: paths with size, times and kind, under a root that is always there.

    PathIndex(*, seed=None): seed is the 64-bit seed of the path hash, random by default. `instance` is a random 64-bit number of this
    object's own, after load(), too.

    Paths are str (undecodable bytes as surrogate escapes) or bytes, and are normalised: `/d/`, `//d`, `d` and `/x/../d` are
    `/d`. Parents of a node are made when they are missing. Children keep their insertion order.

    Threads: every method may be called from several threads at once. Readers share the index, a change excludes everybody; what
    touches many nodes runs without the GIL. An answer shows the tree between two batches, never within one.
    """

    LIVE = NODE_LIVE
    DIRECTORY = NODE_DIR
    DESCRIBED = NODE_DESCRIBED

    cdef fusion_index index
    cdef bint ready
    cdef readonly uint64_t instance  # random: what is known of another index must not be taken for this one's

    def __cinit__(self, *, seed=None, _hash_mask=0xFFFFFFFFFFFFFFFF):
        self.ready = False
        if seed is None:
            seed = int.from_bytes(os.urandom(8), "little")
        self.instance = int.from_bytes(os.urandom(8), "little")
        cdef uint64_t seed_bits = operator.index(seed)
        cdef uint64_t mask = _hash_mask
        if not index_init(&self.index, seed_bits, mask):
            raise MemoryError("address space for the index could not be reserved")
        self.ready = True

    def __dealloc__(self):
        if self.ready:
            index_release(&self.index)

    cdef facts read_facts(self) noexcept:
        cdef facts found
        if pthread_rwlock_tryrdlock(&self.index.lock) == 0:
            copy_facts(&self.index, &found)
            pthread_rwlock_unlock(&self.index.lock)
        else:
            with nogil:
                pthread_rwlock_rdlock(&self.index.lock)
                copy_facts(&self.index, &found)
                pthread_rwlock_unlock(&self.index.lock)
        return found

    cdef uint32_t look_up(self, const path_arg *arg, fusion_node *node, fusion_dir *sums) noexcept:
        """The id at a path or NIL; copies its node and its directory record, a file's directory's."""
        cdef uint32_t id
        if pthread_rwlock_tryrdlock(&self.index.lock) == 0:
            id = copy_node(&self.index, arg, node, sums)
            pthread_rwlock_unlock(&self.index.lock)
        else:
            with nogil:
                pthread_rwlock_rdlock(&self.index.lock)
                id = copy_node(&self.index, arg, node, sums)
                pthread_rwlock_unlock(&self.index.lock)
        return id

    # ---- changes ----

    cdef apply_rows(self, fusion_batch *rows, double now, apply_result *result, uint64_t *revision):
        cdef int status
        cdef region_ahead ahead
        with nogil:
            rows_prepare(rows, self.index.seed, self.index.mask)
            pthread_rwlock_wrlock(&self.index.lock)
            status = index_apply(&self.index, rows, now, result)
            revision[0] = self.index.revision
            ahead = index_plan(&self.index)
            pthread_rwlock_unlock(&self.index.lock)
            region_back(ahead)
        if status != APPLY_OK:
            raise MemoryError("the index could not grow; the batch may be applied in part")

    def apply(self, body, *, now=None):
        """Apply one push in the wire format (bytes, or a Batch decoded before) and return what it did as Applied.

        The rows are applied in order under one lock. Rows of source `message` always apply; rows of source `snapshot` open a
        snapshot window when none is open and lose to what messages wrote or deleted since; `is_snapshot_end` closes the window
        and removes what neither the snapshot carried nor a message touched. `now` (epoch seconds, default the clock) is the
        time of a delete whose event has no `index`.

        Raises MalformedBody or InvalidField (both ValueError), and then nothing has changed.
        """
        cdef double at = seconds_now() if now is None else now
        if not isfinite(at):
            raise ValueError(f"now: a finite number is needed, not {now}")
        cdef Batch batch = body if isinstance(body, Batch) else Batch.decode(body)
        cdef apply_result result
        cdef uint64_t revision = 0
        if batch.busy:
            raise RuntimeError("this batch is being applied by another thread")
        batch.busy = True
        try:
            self.apply_rows(&batch.rows, at, &result, &revision)
        finally:
            batch.busy = False
        return new_tuple(Applied, (batch.rows.n_rows, result.upserts, result.deletes, result.ignored, result.removed,
                                   bool(result.ended), revision))

    def begin_snapshot(self):
        """Open a snapshot window, giving up one that is open: from now on messages win over the snapshot's rows."""
        with nogil:
            pthread_rwlock_wrlock(&self.index.lock)
            index_begin_snapshot(&self.index)
            pthread_rwlock_unlock(&self.index.lock)

    @property
    def snapshot_open(self):
        """Whether a snapshot window is open."""
        return bool(self.read_facts().window)

    def upsert(self, paths, sizes, modified_times, created_times, is_dir):
        """Insert or update many nodes at once, as a message would; returns Applied.

        paths: n str or bytes; sizes: n integers >= 0, bytes; modified_times, created_times: n finite numbers, seconds since the
        epoch; is_dir: n booleans. Sequences or NumPy arrays of shape (n,). Rows go in by the thousand: a reader may see a
        part of them. Raises ValueError or TypeError, and then nothing has changed.
        """
        import numpy as np

        if isinstance(paths, (str, bytes)):
            raise TypeError("paths: a sequence of paths is needed, not one path")
        cdef list holders = list(paths)
        cdef Py_ssize_t n = len(holders), i
        sizes = column("sizes", sizes, n, "iu", np.int64)
        modified_times = column("modified_times", modified_times, n, "fiu", np.float64)
        created_times = column("created_times", created_times, n, "fiu", np.float64)
        is_dir = column("is_dir", is_dir, n, "b", np.bool_)
        if n and sizes.min() < 0:
            raise ValueError(f"sizes: the value at {int(sizes.argmin())} is negative")
        for name, times in (("modified_times", modified_times), ("created_times", created_times)):
            if not np.isfinite(times).all():
                raise ValueError(f"{name}: the value at {int((~np.isfinite(times)).argmax())} is not finite")
        cdef const int64_t[::1] size_column = sizes
        cdef const double[::1] mtime_column = modified_times
        cdef const double[::1] ctime_column = created_times
        cdef const unsigned char[::1] dir_column = is_dir.view(np.uint8)
        cdef fusion_batch block
        cdef fusion_row *row
        cdef const char *path
        cdef size_t length
        cdef Py_ssize_t start
        cdef apply_result result
        cdef uint64_t revision = self.revision
        for i in range(n):
            holder = encoded_path(holders[i])
            if holder is None:
                raise ValueError(f"paths: the path at {i} has a lone surrogate")
            path_bytes(holder, &path, &length)
            if memchr(path, 0, length) != NULL:
                raise ValueError(f"paths: the path at {i} contains NUL")
            if length <= FUSION_MAX_PATH and not path_is_normal(path, length):
                holder = normalised(path, length)
                length = len(holder)
            if length > FUSION_MAX_PATH:
                raise ValueError(f"paths: the path at {i} is longer than {FUSION_MAX_PATH} bytes")
            if length == 1 and not dir_column[i]:
                raise ValueError(f"paths: the path at {i} is the root, which is no file")
            holders[i] = holder  # keeps the bytes that the rows will point at
        batch_init(&block)
        block.source = FUSION_MESSAGE
        try:
            if batch_add_event(&block) == NULL:
                raise MemoryError
            for start in range(0, n, COLUMN_ROWS):
                block.n_rows = 0
                for i in range(start, min(start + COLUMN_ROWS, n)):
                    row = batch_add_row(&block)
                    if row == NULL:
                        raise MemoryError
                    path_bytes(holders[i], &row.path, &length)
                    row.path_len = <uint32_t>length
                    row.size = size_column[i]
                    row.mtime = mtime_column[i]
                    row.ctime = ctime_column[i]
                    row.is_dir = dir_column[i] != 0
                self.apply_rows(&block, 0.0, &result, &revision)
        finally:
            batch_free(&block)
        return Applied(n, n, 0, 0, 0, False, revision)

    def delete(self, path):
        """Delete a path with all below it, as a message would; returns the number of nodes removed. The root stays."""
        holder = encoded_path(path)
        cdef path_arg arg
        cdef fusion_batch rows
        cdef fusion_row row
        cdef fusion_event event
        cdef apply_result result
        cdef uint32_t before, after
        cdef double now = seconds_now()
        if not open_path(holder, &arg):
            return 0
        memset(&row, 0, sizeof(row))
        row.path = arg.path
        row.path_len = <uint32_t>arg.length
        row.is_delete = True
        event.index = -1
        event.is_delete = True
        batch_init(&rows)
        rows.rows = &row
        rows.n_rows = 1
        rows.events = &event
        rows.n_events = 1
        rows.source = FUSION_MESSAGE
        cdef int status
        with nogil:
            rows_prepare(&rows, self.index.seed, self.index.mask)
            pthread_rwlock_wrlock(&self.index.lock)
            before = self.index.live_nodes
            status = index_apply(&self.index, &rows, now, &result)
            after = self.index.live_nodes
            pthread_rwlock_unlock(&self.index.lock)
            close_path(&arg)
        if status != APPLY_OK:
            raise MemoryError
        return before - after

    def clear(self):
        """Empty the tree. An open snapshot window stays open, and what messages deleted in it stays deleted."""
        with nogil:
            pthread_rwlock_wrlock(&self.index.lock)
            index_clear(&self.index)
            pthread_rwlock_unlock(&self.index.lock)

    # ---- lookups ----

    def get(self, path):
        """The Node at `path`, or None."""
        holder = encoded_path(path)
        cdef path_arg arg
        cdef fusion_node found
        cdef fusion_dir sums
        cdef uint32_t id
        if not open_path(holder, &arg):
            return None
        id = self.look_up(&arg, &found, &sums)
        try:
            return None if id == NIL else make_node(&found, arg.path, arg.length)
        finally:
            close_path(&arg)

    def __contains__(self, path):
        holder = encoded_path(path)
        cdef path_arg arg
        cdef fusion_node found
        cdef fusion_dir sums
        cdef uint32_t id
        if not open_path(holder, &arg):
            return False
        id = self.look_up(&arg, &found, &sums)
        close_path(&arg)
        return id != NIL

    def __len__(self):
        """Number of nodes, files and directories; the root counts, so an empty index has length 1."""
        return self.read_facts().live_nodes

    def stats(self, path="/"):
        """Stats of the subtree at `path`, in constant time. Raises KeyError for an unknown path."""
        holder = encoded_path(path)
        cdef path_arg arg
        cdef uint32_t id = NIL
        cdef fusion_dir sums
        cdef fusion_node found
        if open_path(holder, &arg):
            id = self.look_up(&arg, &found, &sums)
            close_path(&arg)
        if id == NIL:
            raise KeyError(path)
        return make_stats(&found, &sums)

    def oldest_directory(self):
        """(path, modified_time) of the described directory with the smallest modified_time, the root apart, or None."""
        cdef uint32_t id
        cdef char *path = NULL
        cdef size_t length = 0
        cdef double mtime = 0
        with nogil:
            pthread_rwlock_rdlock(&self.index.lock)
            id = index_oldest(&self.index)
            if id != OLDEST_NONE:
                length = node_path_length(&self.index, id)
                path = <char *>malloc(length)
                if path != NULL:
                    node_write_path(&self.index, id, path)
                mtime = self.index.nodes[id].mtime
            pthread_rwlock_unlock(&self.index.lock)
        if id == OLDEST_NONE:
            return None
        if path == NULL:
            raise MemoryError
        try:
            return PyUnicode_DecodeUTF8(path, <Py_ssize_t>length, "surrogateescape"), mtime
        finally:
            free(path)

    @property
    def revision(self):
        """Counts the changes to the tree: grows with each batch that has rows."""
        return self.read_facts().revision

    @property
    def longest_path(self):
        """Bytes of the longest path that any node has had since the index was made or loaded; 1 for the root alone."""
        return self.read_facts().longest_path

    # ---- trees ----

    def tree_json(self, path="/", *, recursive=True, max_depth=None, only_path=False, fields=None):
        """The tree at `path` as JSON bytes, at one instant.

        recursive=False: `children` is a list of the direct children. max_depth (>= 0, relative to path) wins over recursive.
        fields: the members that each node has beside `children`, some of name, content_type, path, size, modified_time and
        created_time; all of them by default. They come in this order. only_path leaves size and times out. Names that are not UTF-8
        have `raw_name` beside name or path.

        Raises KeyError for an unknown path, ValueError for a bad depth, an unknown field and for no field at all.
        """
        cdef page_request request
        cdef path_arg arg
        cdef uint32_t id = NIL
        cdef tree_cursor cursor
        cdef tree_facts facts
        cdef text out
        cdef bint written = False
        memset(&out, 0, sizeof(out))
        memset(&cursor, 0, sizeof(cursor))
        request.shape = tree_shape_of(recursive, checked_depth(max_depth), checked_fields(fields, only_path), False)
        request.limit = 0
        holder = encoded_path(path)
        if not open_path(holder, &arg):
            raise KeyError(path)
        request.path = arg.path
        request.path_len = arg.length
        small = small_tree(self, &request, NULL, NULL, &facts)
        if small is not None:
            close_path(&arg)
            return small
        with nogil:
            pthread_rwlock_rdlock(&self.index.lock)
            id = find_path(&self.index, arg.path, arg.length)
            if id != NIL and tree_open(&cursor, &self.index, id, request.shape):
                written = tree_write_all(&cursor, &out) == TREE_OK
                tree_close(&cursor)
            pthread_rwlock_unlock(&self.index.lock)
            close_path(&arg)
        if id == NIL:
            raise KeyError(path)
        return take_text(&out, written)

    def tree_chunks(self, path="/", *, recursive=True, max_depth=None, only_path=False, fields=None, format="json", limit=None,
                    cursor=None, _piece_bytes=CHUNK_BYTES):
        """The same in pieces of some 256 KiB: an iterator of memoryviews on a buffer that the next piece overwrites.

        All pieces show the instant of this call, whatever changes while they are read; the index is locked for one piece at a
        time. While the iterator is alive and not at its end, the index keeps what changes (memory()["views"]).

        format: "json", or "ndjson": a line for each node, parents before their children, without `children`; recursive=False then
        gives the node and its direct children.

        limit (1 to 10000) makes a page of at most so many direct children of `path`, each with what is below it, or of so many
        lines; the iterator's `cursor`, a str, is what the call for the next page takes as `cursor`, None if nothing is left. A cursor
        without a limit gives all the rest. Pages of JSON each have the node at `path`. path, format, recursive and max_depth must be
        the same for all pages. A page shows the tree as it is when it is asked for: a child (a node, in lines) that stays there
        unchanged from the first page to the last is in one of them, in order; what is new comes at the end of its directory. A
        cursor can be used again.

        Attributes of the iterator: revision, the index's at its instant; version, of the subtree (see Stats), for a file its
        directory's; cursor; nodes, how many were written, exact at the end (before, children of an open directory may be
        missing); whole, the complete answer as bytes if it is small (up to 2000 nodes and 512 KiB), else None. read() gives
        all pieces that are left as bytes.

        Raises what tree_json does, ValueError for an unknown format or a bad limit, InvalidField (a ValueError) for what
        is no cursor or one of another request, CursorExpired when the place of a cursor cannot be told any more: cleared or another
        index, its directory deleted, or tens of thousands of younger cursors.
        """
        if format != "json" and format != "ndjson":
            raise ValueError(f"format: json or ndjson is needed, not {format!r}")
        return _TreeChunks(self, path, bool(recursive), checked_depth(max_depth), checked_fields(fields, only_path),
                           format == "ndjson", checked_limit(limit), cursor, _piece_bytes)

    # ---- search ----

    def search(self, pattern, limit=None):
        """Files whose name contains `pattern`, case ignored; with `*`, `?` or `[` in it a glob over the whole name.

        Returns a list of Node, at most `limit`. Raises InvalidField (a ValueError) for an empty pattern.
        """
        cdef finder f
        cdef text out
        cdef find_copied copied
        cdef size_t at
        cdef int status = FIND_MORE
        nodes = []
        memset(&out, 0, sizeof(out))
        find_init(&f)
        try:
            find_simply(self, &f, pattern, limit)
            while status == FIND_MORE:
                with nogil:
                    status = find_copy(&f, &out, CHUNK_BYTES)
                raise_for_find(status, None)
                at = 0
                while at < out.len:
                    memcpy(&copied, out.base + at, sizeof(copied))
                    at += sizeof(copied)
                    nodes.append(make_node(&copied.node, out.base + at, copied.path_len))
                    at += copied.path_len
        finally:
            free(out.base)
            find_close(&f)
        return nodes

    def search_json(self, pattern, limit=None):
        """The same as a JSON list of file nodes, bytes."""
        cdef finder f
        cdef text out
        cdef int status = FIND_MORE
        pieces = []
        memset(&out, 0, sizeof(out))
        find_init(&f)
        try:
            find_simply(self, &f, pattern, limit)
            while status == FIND_MORE:
                out.len = 0
                if not text_room(&out, max(f.wanted, min(CHUNK_BYTES, 512 * (f.n_ids + 1)))):
                    raise MemoryError
                status = write_answer(&f, &out)
                raise_for_find(status, None)
                pieces.append(PyBytes_FromStringAndSize(out.base, <Py_ssize_t>out.len))
        finally:
            free(out.base)
            find_close(&f)
        return b"".join(pieces) if len(pieces) != 1 else pieces[0]

    def find_chunks(self, pattern, *, match="name", path="/", type="file", min_size=None, max_size=None, modified_after=None,
                    modified_before=None, sort=None, order="asc", limit=None, cursor=None, max_seconds=None,
                    _piece_bytes=CHUNK_BYTES):
        """Nodes that match as a JSON list, in pieces of some 256 KiB: an iterator of memoryviews on a buffer that the next piece
        overwrites. The root is never among them. All of it shows the instant of this call.

        pattern: contained in the name, case ignored; with `*`, `?` or `[` in it a glob over the whole name. match="path": the same
        over the whole path, where `*` takes slashes, too. path: only what lies there or below. type: "file", "directory" or "any".
        min_size, max_size: bytes, themselves included. modified_after, modified_before: seconds since the epoch, themselves not
        included. sort: "name", "path", "size" or "modified_time", names and paths by their bytes, ties by path, ascending; None is "path" with
        a limit or cursor, else an order of the index's own. order: "asc" or "desc". limit: nodes in this answer, 1 to 10,000.
        cursor: the attribute of an answer to the same question; this one has what comes after that one's last node. A node that does
        not change is on one page and on one only, whatever changes between the pages.

        Attributes of the iterator: total, the number of all matches; nodes, of those in this answer; revision of the index; cursor
        for the next page, None when there is none; whole, the complete answer as bytes if it is one piece, else None.

        Raises KeyError for an unknown path, InvalidField (a ValueError) for a wrong argument, TimeoutError when the search alone
        takes longer than max_seconds.
        """
        return _FindChunks(self, pattern, match, path, type, min_size, max_size, modified_after, modified_before, sort, order, limit, cursor,
                           max_seconds, _piece_bytes)

    # ---- sums ----

    def largest(self, path="/", top=20):
        """What takes the most bytes, at one instant, as Usage: at most `top` (0 to 1000) children and files, most bytes first, ties by path.

        children: the direct children of `path` with all below them, each a Child. files: Nodes of files at or below `path`, at any
        depth. Raises KeyError for an unknown path, InvalidField (a ValueError) for a wrong top.
        """
        holder = encoded_path(path)
        cdef path_arg arg
        cdef largest found
        cdef int status
        if isinstance(top, bool) or not isinstance(top, int) or not 0 <= top <= MOST_LARGEST:
            raise InvalidField(f"top: an integer from 0 to {MOST_LARGEST} is needed, not {top!r}", pointer="/top")
        if not open_path(holder, &arg):
            raise KeyError(path)
        largest_init(&found, <size_t>top)
        try:
            with nogil:
                status = LARGEST_MORE
                while status == LARGEST_MORE:
                    status = largest_step(&found, &self.index, arg.path, arg.length)
            if status == LARGEST_UNKNOWN:
                raise KeyError(path)
            if status != LARGEST_OK:
                raise MemoryError
            return Usage(make_stats(&found.node, &found.sums), found.revision, largest_children(&found), largest_files(&found))
        finally:
            largest_close(&found)
            close_path(&arg)

    def file_columns(self, path="/"):
        """Sizes and times of all files at or below `path`, at the instant of this call, whatever changes meanwhile.

        An iterator of pairs of NumPy arrays of shape (n,), 1 <= n <= 65,536: sizes int64 (bytes), modified_times float64 (seconds since
        the epoch). The arrays are the caller's. The order is the index's own. Raises KeyError for an unknown path.
        """
        return _FileColumns(self, path)

    # ---- files ----

    def instant(self, bytes note not None=b""):
        """The index as it is now, to be saved while it changes: an Instant, see there.

        note: bytes that belong to whoever saves it, at most 1 GiB, and are in the file; read_note() reads them.
        """
        return Instant.__new__(Instant, self, note)

    def save(self, file, *, sync=False, bytes note not None=b""):
        """Write the index to `file` (a path), as it is at this instant, while it may change; returns the file's size in bytes.

        The same as instant(note).save(file, sync=sync).
        """
        return self.instant(note).save(file, sync=sync)

    @staticmethod
    def load(file):
        """The PathIndex in `file` (a path), with its snapshot window, tombstones and seed.

        Raises DamagedFile (a ValueError) when the file was cut short, changed, or not saved by this version, and OSError. The
        checksums tell damage, not malice: load only what was saved by your own.
        """
        cdef saved_header header
        cdef const char *why = NULL
        cdef int status
        cdef int descriptor
        cdef PathIndex loaded
        with open(file, "rb", buffering=0) as opened:
            descriptor = opened.fileno()
            with nogil:
                status = saved_read_header(descriptor, &header, &why)
            raise_for_file(status, file, why)
            loaded = PathIndex(seed=header.seed, _hash_mask=header.mask)
            with nogil:
                status = index_load(&loaded.index, descriptor, &header, &why)
            raise_for_file(status, file, why)
        return loaded

    @staticmethod
    def read_note(file):
        """The note in a saved file, of which this reads no more. Raises as load() does."""
        cdef saved_header header
        cdef const char *why = NULL
        cdef char *target
        cdef bytes note = b""
        cdef int status
        cdef int descriptor
        with open(file, "rb", buffering=0) as opened:
            descriptor = opened.fileno()
            status = saved_read_header(descriptor, &header, &why)
            if status == SAVED_OK:
                why = "its note is damaged"
                if header.bytes[<int>SAVED_NOTE] > SAVED_NOTE_MAX:
                    status = SAVED_DAMAGED
            if status == SAVED_OK:
                note = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>header.bytes[<int>SAVED_NOTE])
                target = PyBytes_AS_STRING(note)
                with nogil:
                    status = saved_read_section(descriptor, &header, SAVED_NOTE, target)
            raise_for_file(status, file, why)
        return note

    @staticmethod
    def verify(file):
        """Read a saved file to its end and check all its checksums, in constant memory. Raises as load() does."""
        cdef const char *why = NULL
        cdef int status
        cdef int descriptor
        with open(file, "rb", buffering=0) as opened:
            descriptor = opened.fileno()
            with nogil:
                status = saved_verify(descriptor, &why)
            raise_for_file(status, file, why)

    # ---- the engine from inside ----

    def columns(self):
        """Read-only NumPy views of the node records, without a copy, indexed by node id (the root is 0).

        size int64 (bytes), modified_time and created_time float64 (seconds since the epoch), parent uint32 (the parent's id), flags
        uint16 (bits PathIndex.LIVE, DIRECTORY, DESCRIBED; a record without LIVE is unused). Each has shape (n,) with a stride
        of one record. The views keep the index alive and follow later changes of the records they cover.
        """
        import numpy as np

        cdef Py_ssize_t n = self.read_facts().n_nodes
        return {
            "size": np.asarray(_Column(self, n, offsetof_size(), b"q", 8)),
            "modified_time": np.asarray(_Column(self, n, offsetof_mtime(), b"d", 8)),
            "created_time": np.asarray(_Column(self, n, offsetof_ctime(), b"d", 8)),
            "parent": np.asarray(_Column(self, n, 0, b"I", 4)),
            "flags": np.asarray(_Column(self, n, offsetof_flags(), b"H", 2)),
        }

    def memory(self):
        """Bytes in use per part, and their `total`. `views` is what is kept for trees that are being read, `anchors` for cursors."""
        cdef facts found = self.read_facts()
        parts = {
            "nodes": <object>found.n_nodes * sizeof(fusion_node),
            "directories": <object>found.n_dirs * sizeof(fusion_dir),
            "names": found.names,
            "directory_paths": found.paths,
            "hash": found.slots + SLOT_PARTITIONS * sizeof(slot_partition),
            "tombstones": found.tombstones,
            "views": found.views,
            "anchors": found.anchors,
        }
        parts["total"] = sum(parts.values())
        return parts

    def _check(self):
        """Check every invariant; AssertionError names the first one that does not hold. Slow: for tests."""
        cdef char why[256]
        cdef bint sound
        with nogil:
            pthread_rwlock_rdlock(&self.index.lock)
            sound = index_check(&self.index, why, sizeof(why))
            pthread_rwlock_unlock(&self.index.lock)
        if not sound:
            raise AssertionError(why.decode("utf-8", "replace"))


cdef extern from *:
    """
    #include <stddef.h>
    #define offsetof_size() offsetof(fusion_node, size)
    #define offsetof_mtime() offsetof(fusion_node, mtime)
    #define offsetof_ctime() offsetof(fusion_node, ctime)
    #define offsetof_flags() offsetof(fusion_node, flags)
    """
    Py_ssize_t offsetof_size()
    Py_ssize_t offsetof_mtime()
    Py_ssize_t offsetof_ctime()
    Py_ssize_t offsetof_flags()


cdef int raise_for_file(int status, object file, const char *why) except -1:
    """The exception for a saved_status; `why` is the reason of a refusal."""
    if status == SAVED_OK:
        return 0
    if status == SAVED_FAILED:
        raise OSError(errno, os.strerror(errno), os.fspath(file))
    if status == SAVED_DAMAGED:
        raise DamagedFile(f"{os.fsdecode(file)} cannot be loaded: {why.decode()}")
    raise MemoryError


cdef uint32_t checked_depth(object max_depth) except? 0xFFFFFFFE:
    if max_depth is None:
        return NIL
    if isinstance(max_depth, bool) or not isinstance(max_depth, int) or max_depth < 0:
        raise ValueError(f"max_depth: an integer from 0 on is needed, not {max_depth!r}")
    return min(max_depth, 0xFFFFFFFD)


cdef uint32_t checked_fields(object fields, bint only_path) except 0:
    """The bits of these names of fields; all when it is None."""
    cdef uint32_t chosen = FIELDS_ALL
    if fields is not None:
        if isinstance(fields, (str, bytes)):
            raise TypeError("fields: names of fields are needed, not one name")
        chosen = 0
        for name in fields:
            if name not in NODE_FIELDS:
                raise ValueError(f"fields: {name!r} is none of {', '.join(NODE_FIELDS)}")
            chosen |= 1 << <int>NODE_FIELDS.index(name)
    if only_path:
        chosen &= FIELDS_PATH
    if not chosen:
        raise ValueError("fields: nothing would be left of a node")
    return chosen


cdef uint32_t checked_limit(object limit) except? 0xFFFFFFFE:
    """The limit of a page, 0 for none."""
    if limit is None:
        return 0
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= PAGE_LIMIT:
        raise ValueError(f"limit: an integer from 1 to {PAGE_LIMIT} is needed, not {limit!r}")
    return limit


cdef object CURSOR_TEXT = re.compile("[A-Za-z0-9_-]+")


cdef str cursor_text(const page_cursor *cursor):
    """The cursor as clients see it: base64 for URLs, without padding."""
    cdef const char *start = <const char *>cursor
    cdef size_t length = sizeof(page_mark) + page_path_len(&cursor.mark)
    return urlsafe_b64encode(start[:length]).decode().rstrip("=")


cdef int read_page_cursor(object cursor, const page_request *request, page_cursor *read) except -1:
    """Checks what a client sent as the cursor of this request."""
    cdef bytes decoded
    if not isinstance(cursor, str):
        raise TypeError(f"cursor: a str is needed, not {type(cursor).__name__}")
    if not CURSOR_TEXT.fullmatch(cursor) or len(cursor) % 4 == 1:
        raise InvalidField("this is no cursor that a page gave", "/cursor")
    decoded = urlsafe_b64decode(cursor + "==")  # more padding than it may need is no harm
    raise_for_page(page_read(read, PyBytes_AS_STRING(decoded), <size_t>PyBytes_GET_SIZE(decoded), request))
    return 0


cdef int raise_for_page(int status) except -1:
    """The exception for a page_status."""
    if status == PAGE_OK:
        return 0
    if status == PAGE_EXPIRED:
        raise CursorExpired
    if status == PAGE_NO_MEMORY:
        raise MemoryError
    if status == PAGE_FOREIGN:
        raise InvalidField("this cursor belongs to a request with another path, format or depth", "/cursor")
    raise InvalidField("this is no cursor that a page gave", "/cursor")


cdef struct tree_facts:  # of a tree at its instant
    uint32_t id  # NIL: there is no such path
    uint64_t revision
    uint64_t version
    uint64_t nodes  # written
    bint more  # pages; with a cursor for the next one


cdef inline void look_at_top(const fusion_index *ix, const page_request *request, tree_facts *facts) noexcept nogil:
    cdef const fusion_node *n
    facts.id = find_path(ix, request.path, request.path_len)
    if facts.id != NIL:
        n = &ix.nodes[facts.id]
        facts.revision = ix.revision
        facts.version = ix.dirs[n.dir if node_is_dir(n) else ix.nodes[n.parent].dir].version


cdef text small_text  # where small trees are written, and their cursor; used with the GIL held, and not let go in between
cdef tree_cursor small_cursor


cdef bytes small_tree(PathIndex owner, const page_request *request, const page_cursor *begins, page_cursor *end, tree_facts *facts):
    """The complete answer if it is small and the index's lock is free; None: take the long way, which also finds every error."""
    cdef fusion_index *ix = &owner.index
    cdef tree_cursor *tree = &small_cursor
    cdef bint written = False
    if pthread_rwlock_tryrdlock(&ix.lock) != 0:
        return None
    look_at_top(ix, request, facts)
    if facts.id != NIL and page_most(ix, facts.id, request) <= SMALL_TREE and text_room(&small_text, SMALL_TREE_BYTES) \
            and tree_open(tree, ix, facts.id, request.shape):
        small_text.len = 0
        if page_open(tree, facts.id, request, begins, end) == PAGE_OK:
            written = tree_write(tree, &small_text) == TREE_OK
        facts.nodes = tree.nodes
        facts.more = tree.stop != NIL
        tree_end(tree)
    pthread_rwlock_unlock(&ix.lock)
    return PyBytes_FromStringAndSize(small_text.base, <Py_ssize_t>small_text.len) if written else None


cdef bytes take_text(text *out, bint written):
    """The text as bytes; frees it."""
    cdef bytes result
    cdef char *target
    try:
        if not written:
            raise MemoryError
        result = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>out.len)
        target = PyBytes_AS_STRING(result)
        if out.len > CHUNK_BYTES:
            with nogil:
                memcpy(target, out.base, out.len)
        else:
            memcpy(target, out.base, out.len)
        return result
    finally:
        free(out.base)


@cython.final
@cython.no_gc_clear  # its end needs the index, which the collector could take away before
cdef class Instant:
    """An index as it was when PathIndex.instant() was called, for one file.

    Keeping it costs what changes meanwhile, at most a copy of the index: see memory()["views"]. It ends with save(), close() or its
    own life. Any thread may save or close it, one at a time: another one gets RuntimeError.
    """

    cdef PathIndex owner
    cdef bytes note
    cdef saved_writer writer
    cdef bint opened
    cdef bint busy  # being saved; set and tested with the GIL held

    def __cinit__(self, PathIndex owner not None, bytes note not None):
        cdef const char *start = PyBytes_AS_STRING(note)
        cdef size_t n = <size_t>PyBytes_GET_SIZE(note)
        if n > SAVED_NOTE_MAX:
            raise ValueError("a note has 1 GiB at most")
        self.owner = owner
        self.note = note
        with nogil:
            pthread_rwlock_rdlock(&owner.index.lock)
            self.opened = saved_begin(&self.writer, &owner.index, start, n)
            pthread_rwlock_unlock(&owner.index.lock)
        if not self.opened:
            raise MemoryError

    def __dealloc__(self):
        with nogil:
            saved_end(&self.writer)

    def __init__(self):
        raise TypeError("instants are made by PathIndex.instant")

    def save(self, file, *, sync=False, pace=None):
        """Write it to `file` (a path) and close it, whatever happens; returns the file's size in bytes.

        The file is written aside and takes its name at the end, so that `file` is the old one or the new one whatever happens.
        sync=True: it is on the disk before, and so is its name before the call returns; it goes there as it grows, and its space is
        asked for first. pace: called after every 2 MiB but the last, without a lock; it may wait, and what it raises ends the saving.
        Raises OSError, and ValueError when the instant is closed.
        """
        self.take()
        try:
            with replaced_file(os.fsdecode(file), sync=sync) as descriptor:
                return self.write(file, descriptor, sync, pace)
        finally:
            self.shut()

    def close(self):
        """Let go of what it keeps. Once more does nothing."""
        if self.opened:
            self.take()
            self.shut()

    cdef int take(self) except -1:
        if self.busy:
            raise RuntimeError("another thread is saving or closing this instant")
        if not self.opened:
            raise ValueError("this instant is closed")
        self.busy = True
        return 0

    cdef void shut(self) noexcept:
        with nogil:
            saved_end(&self.writer)
        self.opened = False
        self.busy = False

    cdef object write(self, object file, int descriptor, bint sync, object pace):
        cdef int status
        with nogil:
            status = saved_open(&self.writer, descriptor, sync)
        raise_for_file(status, file, NULL)
        while not self.writer.done:
            with nogil:
                status = saved_write_step(&self.writer)
            raise_for_file(status, file, NULL)
            if pace is not None and not self.writer.done:
                pace()
        with nogil:
            saved_end(&self.writer)  # nothing has to be kept while the disk is waited for
        return saved_bytes(&self.writer)


@cython.final
cdef class _Column:
    """One field of all node records, exported as a strided buffer."""

    cdef PathIndex owner
    cdef Py_ssize_t offset
    cdef Py_ssize_t shape[1]
    cdef Py_ssize_t strides[1]
    cdef Py_ssize_t itemsize
    cdef bytes format

    def __cinit__(self, PathIndex owner, Py_ssize_t n, Py_ssize_t offset, bytes format, Py_ssize_t itemsize):
        self.owner = owner
        self.offset = offset
        self.format = format
        self.itemsize = itemsize
        self.shape[0] = n
        self.strides[0] = sizeof(fusion_node)

    def __getbuffer__(self, Py_buffer *view, int flags):
        if flags & PyBUF_WRITABLE == PyBUF_WRITABLE:
            raise BufferError("columns are read-only")
        if flags & PyBUF_STRIDES != PyBUF_STRIDES:
            raise BufferError("columns are strided")
        view.buf = <char *>self.owner.index.nodes + self.offset
        view.obj = self
        view.len = self.shape[0] * self.itemsize
        view.readonly = 1
        view.itemsize = self.itemsize
        view.format = NULL
        if flags & PyBUF_FORMAT:
            view.format = PyBytes_AS_STRING(self.format)
        view.ndim = 1
        view.shape = self.shape
        view.strides = self.strides
        view.suboffsets = NULL
        view.internal = NULL

    def __releasebuffer__(self, Py_buffer *view):
        pass


@cython.final
cdef class _ChunkBuffer:
    """Memory that tree pieces are written into; views on it keep it."""

    cdef text out

    def __cinit__(self, size_t capacity):
        memset(&self.out, 0, sizeof(self.out))
        if not text_room(&self.out, capacity):
            raise MemoryError

    def __dealloc__(self):
        free(self.out.base)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.out.base, <Py_ssize_t>self.out.cap, 1, flags)

    def __releasebuffer__(self, Py_buffer *view):
        pass


@cython.final
@cython.no_gc_clear  # its end needs the index, which the collector could take away before
cdef class _TreeChunks:
    """Iterator of tree_chunks()."""

    cdef PathIndex owner
    cdef _ChunkBuffer buffer  # its text is the piece that was made ahead; None if there is no piece but `whole`
    cdef tree_cursor tree
    cdef bint opened
    cdef bint busy  # making a piece; set and tested with the GIL held
    cdef bint given  # `whole`, as a piece
    cdef readonly bytes whole  # the complete answer if it is small, else None
    cdef readonly str cursor  # of the next page, None if nothing is left
    cdef readonly uint64_t revision  # the index's at the instant that is shown
    cdef readonly uint64_t version  # of the subtree at that instant
    cdef readonly uint64_t nodes  # in the pieces made so far

    def __cinit__(self, PathIndex owner not None, object path, bint recursive, uint32_t max_depth, uint32_t fields, bint lines,
                  uint32_t limit, object cursor, size_t piece_bytes):
        cdef page_request request
        cdef page_cursor begin
        cdef page_cursor end
        cdef const page_cursor *begins = NULL
        cdef tree_facts facts
        cdef path_arg arg
        cdef int status
        self.opened = False
        self.owner = owner
        holder = encoded_path(path)
        if not open_path(holder, &arg):
            raise KeyError(path)
        try:
            request.instance = owner.instance
            request.path = arg.path
            request.path_len = arg.length
            request.shape = tree_shape_of(recursive, max_depth, fields, lines)
            request.limit = limit
            if cursor is not None:
                read_page_cursor(cursor, &request, &begin)
                begins = &begin
            if piece_bytes >= CHUNK_BYTES:
                self.whole = small_tree(owner, &request, begins, &end, &facts)
            if self.whole is None:
                status = self.open(&request, begins, &end, &facts, piece_bytes)
                if facts.id == NIL:
                    raise KeyError(path)
                raise_for_page(status)
        finally:
            close_path(&arg)
        self.revision = facts.revision
        self.version = facts.version
        self.nodes = facts.nodes
        if facts.more:
            self.cursor = cursor_text(&end)

    cdef int open(self, const page_request *request, const page_cursor *begins, page_cursor *end, tree_facts *facts,
                  size_t piece_bytes) except -1:
        """Makes the first piece; a page_status."""
        cdef fusion_index *ix = &self.owner.index
        cdef text *out
        cdef int status = PAGE_NO_MEMORY
        cdef int written
        self.buffer = _ChunkBuffer(piece_bytes)
        out = &self.buffer.out
        with nogil:
            pthread_rwlock_rdlock(&ix.lock)
            look_at_top(ix, request, facts)
            if facts.id != NIL:
                self.opened = tree_open(&self.tree, ix, facts.id, request.shape)
            if self.opened:
                status = page_open(&self.tree, facts.id, request, begins, end)
            if status == PAGE_OK:
                written = tree_write(&self.tree, out)
                facts.nodes = self.tree.nodes
                facts.more = self.tree.stop != NIL
                if not (written == TREE_OK or written == TREE_FULL and tree_keep(&self.tree)):
                    status = PAGE_NO_MEMORY
            pthread_rwlock_unlock(&ix.lock)
        return status

    def __dealloc__(self):
        if self.opened:
            with nogil:
                tree_close(&self.tree)

    def __iter__(self):
        return self

    def __next__(self):
        if self.busy:
            raise ValueError("another thread is waiting for a piece of this tree")
        if self.whole is not None:
            if self.given or not self.whole:
                raise StopIteration
            self.given = True
            return memoryview(self.whole)
        self.busy = True
        try:
            return self.piece()
        finally:
            self.busy = False

    def read(self):
        """All pieces that are left, as bytes."""
        if self.whole is not None and not self.given:
            self.given = True
            return self.whole
        return b"".join([bytes(piece) for piece in self])

    cdef object piece(self):
        cdef fusion_index *ix = &self.owner.index
        cdef text *out = &self.buffer.out
        cdef int status = TREE_OK
        cdef size_t length
        while not out.len:
            if self.tree.done:
                raise StopIteration
            if self.tree.wanted > out.cap:  # one node is larger than the buffer
                self.buffer = _ChunkBuffer(self.tree.wanted)
                out = &self.buffer.out
            with nogil:
                pthread_rwlock_rdlock(&ix.lock)
                status = tree_write(&self.tree, out) if tree_resume(&self.tree) else TREE_NO_MEMORY
                pthread_rwlock_unlock(&ix.lock)
                self.nodes = self.tree.nodes
                if self.tree.done:
                    tree_close(&self.tree)
            if status != TREE_OK and status != TREE_FULL:
                raise MemoryError("the tree's instant could not be kept")
        length = out.len
        out.len = 0
        return memoryview(self.buffer)[:length]


# ---- search and sums ----

cdef int raise_for_find(int status, object path) except -1:
    if status == FIND_OK or status == FIND_MORE:
        return 0
    if status == FIND_UNKNOWN:
        raise KeyError(path)
    if status == FIND_LATE:
        raise TimeoutError("the search takes too long")
    raise MemoryError("the search's instant could not be kept")


cdef int open_pattern(finder *f, object pattern, bint over_paths) except -1:
    """Sets what is looked for."""
    cdef bytes names = pattern.program
    cdef bytes program
    cdef int status = SEARCH_OK
    if over_paths:
        plan = path_search(pattern)
        program = names
        names = plan.names
        f.way = <find_way><int>plan.way
        f.by_walk = names is None
        status = glob_init(&f.paths, PyBytes_AS_STRING(program), <size_t>PyBytes_GET_SIZE(program))
    if status == SEARCH_OK and names is not None:
        status = search_init(&f.names, PyBytes_AS_STRING(names), <size_t>PyBytes_GET_SIZE(names))
    if status != SEARCH_OK:
        raise MemoryError
    return 0


cdef int open_top(finder *f, object path) except -1:
    """Sets where it is looked for."""
    cdef path_arg arg
    holder = encoded_path(path)
    if not open_path(holder, &arg):
        raise KeyError(path)
    f.top_path_len = arg.length
    if arg.owned != NULL:
        f.top_path = arg.owned
        return 0
    f.top_path = <char *>malloc(arg.length)
    if f.top_path == NULL:
        raise MemoryError
    memcpy(f.top_path, arg.path, arg.length)
    return 0


cdef int collect(finder *f, PathIndex owner, object path, int64_t deadline) except -1:
    """Does the search."""
    cdef int status = find_collect(f, &owner.index, False, deadline)
    if status == FIND_BUSY:
        with nogil:
            status = find_collect(f, &owner.index, True, deadline)
    return raise_for_find(status, path)


cdef int write_answer(finder *f, text *out) noexcept:
    cdef int status = FIND_BUSY
    if f.n_ids <= SHORT_ANSWER:
        status = find_write(f, out, False)
    if status == FIND_BUSY:
        with nogil:
            status = find_write(f, out, True)
    return status


cdef int find_simply(PathIndex owner, finder *f, object pattern, object limit) except -1:
    """The search of search() and search_json(): files by name, anywhere."""
    pattern = compile_pattern(pattern)
    if limit is not None and operator.index(limit) < 0:
        raise ValueError(f"limit: a number from 0 on is needed, not {limit}")
    f.files = True
    find_set_order(f, FIND_UNSORTED, False, <uint64_t>-1 if limit is None else min(operator.index(limit), NIL))
    open_pattern(f, pattern, False)
    open_top(f, "/")
    return collect(f, owner, "/", <int64_t>0x7FFFFFFFFFFFFFFF)


cdef list WAYS = ["name", "path"]
cdef list TYPES = ["file", "directory", "any"]
cdef list SORTS = [None, "name", "path", "size", "modified_time"]
cdef list ORDERS = ["asc", "desc"]


cdef int choice(str name, object value, list values) except -1:
    """The place of a value among those allowed."""
    if value not in values:
        allowed = ", ".join(each for each in values if each is not None)
        raise InvalidField(f"{name}: one of {allowed} is needed, not {value!r}", pointer=f"/{name}")
    return values.index(value)


cdef int64_t integer(str name, object value, int64_t least, int64_t most) except -1:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidField(f"{name}: an integer from {least} to {most} is needed, not {value!r}", pointer=f"/{name}")
    return value


cdef double seconds(str name, object value) except? -1.0:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            if isfinite(<double>value):
                return value
        except OverflowError:
            pass
    raise InvalidField(f"{name}: a finite number is needed, not {value!r}", pointer=f"/{name}")


@cython.final
@cython.no_gc_clear  # its end needs the index, which the collector could take away before
cdef class _FindChunks:
    """Iterator of find_chunks()."""

    cdef PathIndex owner
    cdef _ChunkBuffer buffer  # its text is the piece that was made ahead
    cdef finder work
    cdef bint ended
    cdef bint busy  # making a piece; set and tested with the GIL held
    cdef readonly object total
    cdef readonly object revision
    cdef readonly object nodes
    cdef readonly object cursor
    cdef readonly bytes whole  # the complete answer if it is one piece, else None

    def __cinit__(self, PathIndex owner, pattern, match, path, type, min_size, max_size, modified_after, modified_before, sort, order,
                  limit, cursor, max_seconds, size_t piece_bytes):
        cdef finder *f = &self.work
        cdef int64_t deadline = <int64_t>0x7FFFFFFFFFFFFFFF
        cdef int by, status
        cdef double budget
        find_init(f)
        self.owner = owner
        compiled = compile_pattern(pattern)
        cdef bint over_paths = choice("match", match, WAYS)
        cdef int kinds = choice("type", type, TYPES)
        cdef bint descending = choice("order", order, ORDERS)
        by = choice("sort", sort, SORTS)
        f.files = kinds != 1
        f.directories = kinds != 0
        if min_size is not None:
            f.min_size = integer("min_size", min_size, 0, <int64_t>0x7FFFFFFFFFFFFFFF)
        if max_size is not None:
            f.max_size = integer("max_size", max_size, 0, <int64_t>0x7FFFFFFFFFFFFFFF)
        if modified_after is not None:
            f.after = seconds("modified_after", modified_after)
        if modified_before is not None:
            f.before = seconds("modified_before", modified_before)
        if limit is not None:
            integer("limit", limit, 1, PAGE_LIMIT)
        if max_seconds is not None:
            budget = seconds("max_seconds", max_seconds)
            if budget < 1e9:
                deadline = find_clock() + <int64_t>(max(budget, 0.0) * 1e9)
        if by == FIND_UNSORTED and (limit is not None or cursor is not None):
            by = FIND_BY_PATH
        find_set_order(f, <find_sort>by, descending, <uint64_t>-1 if limit is None else <uint64_t>limit)
        open_pattern(f, compiled, over_paths)
        open_top(f, path)
        cdef bytes place
        cdef Py_ssize_t name
        question = None
        if limit is not None or cursor is not None:
            question = (compiled.text, over_paths, f.top_path[:f.top_path_len], kinds, f.min_size, f.max_size, f.after, f.before, by,
                        descending)
        if cursor is not None:
            key, place = read_cursor(question, cursor)
            name = place.rfind(b"/") + 1
            if not find_continue(f, key, PyBytes_AS_STRING(place), <size_t>len(place), <size_t>(len(place) - name)):
                raise MemoryError
        collect(f, owner, path, deadline)
        self.total = f.total
        self.revision = f.revision
        self.nodes = f.n_ids
        if limit is not None and f.later > f.n_ids:
            self.cursor = make_cursor(question, find_last_key(f), f.last.path[:f.last.path_len])
        self.buffer = _ChunkBuffer(min(piece_bytes, 512 * (f.n_ids + 1)))
        self.make_piece()
        if self.ended:
            self.whole = PyBytes_FromStringAndSize(self.buffer.out.base, <Py_ssize_t>self.buffer.out.len)

    def __dealloc__(self):
        with nogil:
            find_close(&self.work)

    def __iter__(self):
        return self

    def __next__(self):
        if self.busy:
            raise ValueError("another thread is waiting for a piece of this answer")
        self.busy = True
        try:
            return self.piece()
        finally:
            self.busy = False

    cdef int make_piece(self) except -1:
        cdef int status = write_answer(&self.work, &self.buffer.out)
        self.ended = status == FIND_OK
        return raise_for_find(status, None)

    cdef object piece(self):
        cdef size_t length
        while not self.buffer.out.len:
            if self.ended:
                raise StopIteration
            if self.work.wanted > self.buffer.out.cap:  # one node is larger than the buffer
                self.buffer = _ChunkBuffer(self.work.wanted)
            self.make_piece()
        length = self.buffer.out.len
        self.buffer.out.len = 0
        return memoryview(self.buffer)[:length]


cdef list largest_children(const largest *found):
    cdef const largest_entry *entry
    cdef Node node
    cdef size_t i
    children = []
    for i in range(found.children.n):
        entry = &found.entries[i]
        node = make_node(&entry.node, found.children.items[i].path, found.children.items[i].path_len)
        if node.is_dir:
            children.append(Child(node.name, node.path, True, (<object>entry.bytes_hi << 64) + entry.bytes_lo, entry.files,
                                  <object>entry.dirs + 1))
        else:
            children.append(Child(node.name, node.path, False, node.size, 1, 0))
    return children


cdef list largest_files(const largest *found):
    cdef size_t i
    return [make_node(&found.entries[found.children.n + i].node, found.files.items[i].path, found.files.items[i].path_len)
            for i in range(found.files.n)]


@cython.final
@cython.no_gc_clear  # its end needs the index, which the collector could take away before
cdef class _FileColumns:
    """Iterator of file_columns()."""

    cdef PathIndex owner
    cdef gather work
    cdef bint opened
    cdef bint busy  # filling arrays; set and tested with the GIL held

    def __cinit__(self, PathIndex owner, path):
        cdef path_arg arg
        cdef int status
        self.owner = owner
        holder = encoded_path(path)
        if not open_path(holder, &arg):
            raise KeyError(path)
        with nogil:
            status = gather_begin(&self.work, &owner.index, arg.path, arg.length)
            close_path(&arg)
        if status == GATHER_UNKNOWN:
            raise KeyError(path)
        if status != GATHER_OK:
            raise MemoryError
        self.opened = True

    def __dealloc__(self):
        if self.opened:
            with nogil:
                gather_close(&self.work)

    def __iter__(self):
        return self

    def __next__(self):
        if self.busy:
            raise ValueError("another thread is waiting for columns of these files")
        self.busy = True
        try:
            return self.columns()
        finally:
            self.busy = False

    cdef object columns(self):
        import numpy as np

        cdef size_t n = 0
        cdef int status
        if self.work.next == NIL:
            raise StopIteration
        sizes = np.empty(FILE_COLUMNS, np.int64)
        times = np.empty(FILE_COLUMNS, np.float64)
        cdef int64_t[::1] size_column = sizes
        cdef double[::1] time_column = times
        cdef int64_t *size_start = &size_column[0]
        cdef double *time_start = &time_column[0]
        with nogil:
            status = gather_next(&self.work, size_start, time_start, <size_t>FILE_COLUMNS, &n)
        if status != GATHER_OK:
            raise MemoryError("the files' instant could not be kept")
        if not n:
            raise StopIteration
        return sizes[:n], times[:n]


cdef simd_level choose_simd(bytes name) noexcept:
    """Takes the vector instructions of that name, the best without one."""
    cdef const char *wanted = NULL
    if name is not None:
        wanted = PyBytes_AS_STRING(name)
    return simd_choose(wanted)


choose_simd(os.environb.get(b"FUSION_SIMD"))


# ---- doors for tests ----

def _simd(name=None):
    """Use the vector instructions of that name (the best without one); returns the names of what is in use and of all there are."""
    cdef simd_level used = choose_simd(None if name is None else name.encode())
    return simd_names[<int>used].decode(), [simd_names[level].decode() for level in range(<int>simd_best() + 1)]


def _double_write(double value):
    """What the engine writes for a finite double."""
    cdef char out[DOUBLE_WRITE_MAX]
    cdef char *end = double_write(out, value)
    return out[:end - out]


def _times_write(const double[::1] values not None):
    """What the engine writes for pairs of finite modified and created times, one after the other."""
    cdef Py_ssize_t i
    cdef size_t room = <size_t>values.shape[0] // 2 * TIMES_WRITE_MAX
    cdef text out
    memset(&out, 0, sizeof(out))
    if not text_room(&out, room + 1):
        raise MemoryError
    cdef char *p = out.base
    for i in range(0, values.shape[0] - 1, 2):
        p = times_write(p, values[i], values[i + 1], simd_in_use)
    out.len = <size_t>(p - out.base)
    return take_text(&out, True)


def _double_read(bytes token not None):
    """The double that a JSON number token spells, or None when it is none."""
    cdef double value = 0.0
    cdef const char *start = PyBytes_AS_STRING(token)
    cdef const char *end = start + PyBytes_GET_SIZE(token)
    return value if double_read(start, end, &value) == end else None


def _int64_read(bytes token not None):
    """The int64 that a JSON integer token spells, or None when it is none."""
    cdef int64_t value = 0
    cdef const char *start = PyBytes_AS_STRING(token)
    cdef const char *end = start + PyBytes_GET_SIZE(token)
    return value if int64_read(start, end, &value) == end else None


def _search_blob(bytes blob not None, bytes sync, pattern):
    """Owners of the records of a name blob that match."""
    cdef bytes program = compile_pattern(pattern).program
    cdef const char *base = PyBytes_AS_STRING(blob)
    cdef size_t used = <size_t>PyBytes_GET_SIZE(blob)
    cdef const uint32_t *points = NULL
    cdef search_state state
    cdef uint32_t owner
    if sync is not None:
        points = <const uint32_t *>PyBytes_AS_STRING(sync)
    owners = []
    try:
        if search_init(&state, PyBytes_AS_STRING(program), <size_t>PyBytes_GET_SIZE(program)) != SEARCH_OK:
            raise MemoryError
        while True:
            owner = search_next(&state, base, used, points)
            if owner == SEARCH_END:
                return owners
            owners.append(owner)
    finally:
        search_free(&state)
