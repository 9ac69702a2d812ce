// SPDX-License-Identifier: Apache-2.0
// Extended attributes. Where ids pass through, the guest may use what makes a file whole (trusted.*, file
// capabilities, access lists); otherwise user.* only.
#include <linux/limits.h>
#include <linux/xattr.h>
#include <sys/xattr.h>

#include <algorithm>
#include <string_view>

#include "devices/fuse/operations.h"

namespace uvmm::fuse {
namespace {

constexpr std::string_view kAccessList = "system.posix_acl_access";
constexpr std::string_view kDefaultList = "system.posix_acl_default";
constexpr std::string_view kFileCapabilities = "security.capability";

bool is_allowed(const Server& server, std::string_view name) {
  if (name.starts_with("user.")) return true;
  if (!server.share.owners.passes_through()) return false;
  return name.starts_with("trusted.") || name == kFileCapabilities || name == kAccessList ||
         name == kDefaultList;
}

// The name of an attribute, checked; it ends with its NUL.
std::expected<std::string_view, i32> attribute_name(Arguments& arguments) {
  const auto text = arguments.take_text();
  if (!text || text->empty()) return std::unexpected(-EINVAL);
  if (text->size() > XATTR_NAME_MAX) return std::unexpected(-ERANGE);
  return *text;
}

// A request with size 0 asks how much there is; otherwise what is there has to fit.
i32 reply_with(Server& server, Request& request, u32 asked, i32 length) {
  if (length < 0) return length;
  if (asked == 0) {
    request.reply.put(fuse_getxattr_out{.size = static_cast<u32>(length)});
    return 0;
  }
  const bool put = request.reply.put(std::span<const u8>(server.scratch.get(), static_cast<u32>(length)));
  return put ? 0 : -ERANGE;
}

u32 most_bytes(u32 asked) {
  return std::min<u32>(asked, XATTR_SIZE_MAX);
}

// The names in the scratch that the guest may know of, moved together; their length.
i32 keep_allowed(const Server& server, i32 length) {
  auto* const names = reinterpret_cast<char*>(server.scratch.get());
  i32 kept = 0;
  for (i32 at = 0; at < length;) {
    const std::string_view name(names + at);
    const i32 bytes = static_cast<i32>(name.size()) + 1;
    at += bytes;
    if (!is_allowed(server, name)) continue;
    std::memmove(names + kept, name.data(), static_cast<std::size_t>(bytes));
    kept += bytes;
  }
  return kept;
}

}  // namespace

i32 setxattr(Server& server, Request& request) {
  fuse_setxattr_in arguments{};
  if (server.session.has(FUSE_SETXATTR_EXT)) {
    const auto all = request.arguments.take<fuse_setxattr_in>();
    if (!all) return -EINVAL;
    arguments = *all;
  } else {
    const auto old = request.arguments.take<u64>();
    std::memcpy(&arguments, &*old, FUSE_COMPAT_SETXATTR_IN_SIZE);
  }
  const auto name = attribute_name(request.arguments);
  if (!name) return name.error();
  const std::span<const u8> value = request.arguments.rest();
  if (value.size() != arguments.size) return -EINVAL;
  if (value.size() > XATTR_SIZE_MAX) return -E2BIG;
  if (arguments.flags & ~u32{XATTR_CREATE | XATTR_REPLACE}) return -EINVAL;
  if (!is_allowed(server, *name)) return -EOPNOTSUPP;
  const i32 fd = server.files.path(*request.node);
  if (fd < 0) return fd;
  const DescriptorPath path(fd);
  if (::setxattr(path.c_str(), name->data(), value.data(), value.size(), static_cast<int>(arguments.flags)) <
      0)
    return -errno;
  // The caller is no member of the file's group: that is for the guest to know.
  if ((arguments.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID) && *name == kAccessList) {
    Look seen;
    const i32 looked = server.files.look(fd, "", seen);
    if (looked < 0) return looked;
    if (seen.status.stx_mode & S_ISGID) return result_of(::chmod(path.c_str(), seen.status.stx_mode & 05777));
  }
  return 0;
}

i32 getxattr(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_getxattr_in>();
  const auto name = attribute_name(request.arguments);
  if (!name) return name.error();
  if (!is_allowed(server, *name)) return -EOPNOTSUPP;
  const u32 most = most_bytes(arguments->size);
  // Asked by guests before they write to a file that they have not written to for a while.
  const i32 open = server.handles.fd_of(*request.node);
  if (open >= 0) {
    const i32 length = result_of(::fgetxattr(open, name->data(), server.scratch.get(), most));
    return reply_with(server, request, arguments->size, length);
  }
  const i32 fd = server.files.path(*request.node);
  if (fd < 0) return fd;
  const i32 length =
      result_of(::getxattr(DescriptorPath(fd).c_str(), name->data(), server.scratch.get(), most));
  return reply_with(server, request, arguments->size, length);
}

i32 listxattr(Server& server, Request& request) {
  const auto arguments = request.arguments.take<fuse_getxattr_in>();
  const i32 fd = server.files.path(*request.node);
  if (fd < 0) return fd;
  auto* const names = reinterpret_cast<char*>(server.scratch.get());
  const i32 all = result_of(::listxattr(DescriptorPath(fd).c_str(), names, XATTR_LIST_MAX));
  if (all < 0) return all;
  const i32 length = keep_allowed(server, all);
  if (arguments->size != 0 && static_cast<u32>(length) > arguments->size) return -ERANGE;
  return reply_with(server, request, arguments->size, length);
}

i32 removexattr(Server& server, Request& request) {
  const auto name = attribute_name(request.arguments);
  if (!name) return name.error();
  if (!is_allowed(server, *name)) return -EOPNOTSUPP;
  const i32 fd = server.files.path(*request.node);
  if (fd < 0) return fd;
  return result_of(::removexattr(DescriptorPath(fd).c_str(), name->data()));
}

}  // namespace uvmm::fuse
