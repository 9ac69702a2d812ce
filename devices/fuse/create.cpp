// SPDX-License-Identifier: Apache-2.0
// Operations that make files. The host's kernel gives them owner, group and mode, as if the guest's caller
// made them there (see CreationScope).
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/fuse/operations.h"

namespace uvmm::fuse {
namespace {

// What may be asked of a new file's mode; see setattr.cpp on set-id bits.
bool mode_is_allowed(const Server& server, u32 mode) {
  return server.share.owners.passes_through() || !(mode & (S_ISUID | S_ISGID));
}

// Makes something called `name` in the request's node, then answers with its entry. `make` gets the
// directory's descriptor.
template <typename Make>
i32 make_entry(Server& server, Request& request, Name name, u32 umask, Make make) {
  if (server.inodes.full()) return -ENFILE;
  const i32 parent_fd = server.files.path(*request.node);
  if (parent_fd < 0) return parent_fd;
  {
    const CreationScope scope(server.share.owners, request.header, umask);
    if (!scope) return -EPERM;
    if (make(parent_fd) < 0) return -errno;
  }
  return reply_with_entry(server, request, *request.node, name);
}

// A file that the guest just opened with `flags`, and what was seen of it.
struct Opened {
  Node& node;
  const Look& seen;
  Fd fd;
  u32 flags;
};

// Answers with its entry and a handle for it. `caching` is what the guest is told of its cache.
i32 reply_with_open_file(Server& server, Request& request, Opened file, u32 caching) {
  fuse_entry_out entry;
  fill_entry(server, *request.node, file.node, file.seen, entry);
  const Handle& handle = server.handles.add(file.node, Handle::Kind::kFile, std::move(file.fd), file.flags);
  request.reply.put(entry);
  request.reply.put(fuse_open_out{.fh = handle.id(), .open_flags = caching});
  return 0;
}

// The file was there already.
i32 open_existing(Server& server, Request& request, int parent_fd, Name name, const fuse_create_in& wish) {
  Look seen;
  const i32 looked = server.files.look(parent_fd, name.c_str(), seen);
  if (looked < 0) return looked;
  Node* const node = server.files.enter(*request.node, parent_fd, name, seen);
  if (!node) return -ENFILE;
  Fd fd;
  const i32 opened = open_file(server, *node, wish.flags, wish.open_flags, fd);
  if (opened < 0) {
    server.inodes.forget(*node, 1);  // the guest does not learn of it
    return opened;
  }
  const u32 caching = caching_flags(server, *node, fd.get());
  return reply_with_open_file(server, request, {*node, seen, std::move(fd), wish.flags}, caching);
}

}  // namespace

i32 mknod(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_mknod_in>();
  const auto name = request.arguments.last_name();
  if (!name) return name.error();
  const u32 type = arguments->mode & S_IFMT;
  // A character device 0:0 is no device but the mark of overlayfs for a file that was removed. Real ones are
  // never made.
  const bool whiteout = type == S_IFCHR && arguments->rdev == 0;
  if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && type != 0 && !whiteout)
    return type == S_IFCHR || type == S_IFBLK ? -EPERM : -EINVAL;
  if (!mode_is_allowed(server, arguments->mode)) return -EPERM;
  return make_entry(server, request, *name, arguments->umask, [&](int parent_fd) {
    return ::mknodat(parent_fd, name->c_str(), arguments->mode & (S_IFMT | 07777), 0);
  });
}

i32 mkdir(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_mkdir_in>();
  const auto name = request.arguments.last_name();
  if (!name) return name.error();
  return make_entry(server, request, *name, arguments->umask, [&](int parent_fd) {
    return ::mkdirat(parent_fd, name->c_str(), arguments->mode & 07777);
  });
}

i32 symlink(Server& server, Request& request) {
  const auto name = request.arguments.take_name();
  if (!name) return name.error();
  // What it says is the guest's affair: here nobody ever follows it.
  const auto target = request.arguments.take_text();
  if (!target || target->empty() || !request.arguments.rest().empty()) return -EINVAL;
  return make_entry(server, request, *name, 0,
                    [&](int parent_fd) { return ::symlinkat(target->data(), parent_fd, name->c_str()); });
}

i32 create(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_create_in>();
  const auto name = request.arguments.last_name();
  if (!name) return name.error();
  if (!mode_is_allowed(server, arguments->mode)) return -EPERM;
  if (server.handles.full()) return -ENFILE;
  const i32 parent_fd = server.files.path(*request.node);
  if (parent_fd < 0) return parent_fd;

  const u32 flags = host_open_flags(server, arguments->flags);
  if (server.inodes.full()) {
    if (arguments->flags & O_EXCL) return -ENFILE;
    const i32 opened = open_existing(server, request, parent_fd, *name, *arguments);
    return opened == -ENOENT ? -ENFILE : opened;
  }
  Fd fd;
  {
    const CreationScope scope(server.share.owners, request.header, arguments->umask);
    if (!scope) return -EPERM;
    fd = Fd(open_beneath(parent_fd, name->c_str(), (flags & ~u32{O_TRUNC}) | O_CREAT | O_EXCL,
                         arguments->mode & 07777));
  }
  if (!fd && errno == EEXIST && !(arguments->flags & O_EXCL))
    return open_existing(server, request, parent_fd, *name, *arguments);
  if (!fd) return -errno;

  Look seen;
  const i32 looked = server.files.look(fd.get(), "", seen);
  if (looked < 0) return looked;
  Node* const node = server.files.enter(*request.node, parent_fd, *name, seen);
  if (!node) return -ENFILE;
  return reply_with_open_file(server, request, {*node, seen, std::move(fd), arguments->flags},
                              new_caching_flags(server));
}

i32 tmpfile(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_create_in>();
  if (!mode_is_allowed(server, arguments->mode)) return -EPERM;
  if (server.handles.full() || server.inodes.full()) return -ENFILE;
  const i32 parent_fd = server.files.path(*request.node);
  if (parent_fd < 0) return parent_fd;
  const u32 flags = host_open_flags(server, arguments->flags) | (arguments->flags & O_EXCL);
  Fd fd;
  {
    const CreationScope scope(server.share.owners, request.header, arguments->umask);
    if (!scope) return -EPERM;
    fd = Fd(open_beneath(parent_fd, ".", flags | O_TMPFILE, arguments->mode & 07777));
  }
  if (!fd) return -errno;
  Look seen;
  const i32 looked = server.files.look(fd.get(), "", seen);
  if (looked < 0) return looked;
  Node* const node = server.files.enter_unnamed(fd.get(), seen);
  if (!node) return -ENFILE;
  return reply_with_open_file(server, request, {*node, seen, std::move(fd), arguments->flags},
                              new_caching_flags(server));
}

}  // namespace uvmm::fuse
