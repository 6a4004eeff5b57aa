/* One node as JSON text. */
#ifndef FUSION_NODE_JSON_H
#define FUSION_NODE_JSON_H

#include "double_write.h"
#include "nodes.h"
#include "text.h"

/* The name as JSON string content. `name` has COPY_OVERRUN bytes of room behind; the root's is not read. */
static inline char *name_write(char *out, const fusion_node *n, const char *name)
{
    if (!n->name_len) /* the root */
        return out;
    if (n->flags & NODE_ESCAPE)
        return json_escape(out, name, n->name_len);
    return copy_run(out, name, n->name_len);
}

/* Bytes that node_write_members may need beside the directory's prefix, copies' overrun included: the name stands in it three
 * times at most. */
static inline size_t node_room(const fusion_node *n)
{
    return 256 + (n->flags & NODE_ESCAPE ? 14 : 2) * (size_t)n->name_len;
}

/* `"name":...` up to the last member before children, without braces. `prefix` is the parent's path, escaped, "" for the root,
 * with COPY_OVERRUN bytes of room behind. */
static inline char *node_write_members(char *out, const fusion_node *n, const char *name, const char *prefix, size_t prefix_len,
                                       bool only_path)
{
    out = TEXT_LITERAL(out, "\"name\":\"");
    char *written = out;
    out = name_write(out, n, name);
    size_t written_len = (size_t)(out - written);
    if (node_is_dir(n))
        out = TEXT_LITERAL(out, "\",\"content_type\":\"directory\",\"path\":\"");
    else
        out = TEXT_LITERAL(out, "\",\"content_type\":\"file\",\"path\":\"");
    if (prefix_len)
        out = copy_run(out, prefix, prefix_len);
    *out++ = '/';
    out = copy_run(out, written, written_len);
    *out++ = '"';
    if (!only_path) {
        out = TEXT_LITERAL(out, ",\"size\":");
        out = int64_write(out, n->size);
        out = TEXT_LITERAL(out, ",\"modified_time\":");
        char *mtime = out;
        out = double_write(out, n->mtime);
        size_t mtime_len = (size_t)(out - mtime);
        out = TEXT_LITERAL(out, ",\"created_time\":");
        if (memcmp(&n->mtime, &n->ctime, sizeof n->mtime) == 0) /* as for most files that were written once */
            out = copy_run(out, mtime, mtime_len);
        else
            out = double_write(out, n->ctime);
    }
    if (n->flags & NODE_RAW) {
        out = TEXT_LITERAL(out, ",\"raw_name\":\"");
        out = base64_write(out, name, n->name_len);
        *out++ = '"';
    }
    return out;
}

#endif
