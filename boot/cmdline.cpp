// SPDX-License-Identifier: Apache-2.0
#include "boot/cmdline.h"

#include <algorithm>
#include <optional>

#include "arch/x86_64/layout.h"

namespace uvmm {
namespace {

// The next word of `text`, which is consumed. A quoted part may have spaces, as in Linux's next_arg().
std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  bool quoted = false;
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    if (text[end] == '"') quoted = !quoted;
    if (!quoted && (text[end] == ' ' || text[end] == '\t')) break;
  }
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

bool names_root(std::string_view text) {
  while (true) {
    const std::string_view word = take_word(text);
    if (word.empty() || word == "--") return false;  // what is behind -- is init's
    if (word.starts_with("root=") || word.starts_with("\"root=")) return true;
  }
}

// The disk that root= is to name, if any.
std::optional<std::size_t> root_disk(const CmdlineSource& source) {
  const auto flagged = std::ranges::find_if(source.disks, &CmdlineDisk::root);
  if (flagged != source.disks.end()) return static_cast<std::size_t>(flagged - source.disks.begin());
  if (source.disks.empty() || source.initrd || names_root(source.text)) return std::nullopt;
  return 0;
}

std::string root_text(const CmdlineDisk& disk, std::size_t index) {
  std::string text = " root=/dev/" + disk_name(index);
  if (disk.format != ImageFormat::kUnknown) text.append(" rootfstype=").append(file_system_name(disk.format));
  return text + (disk.read_only || is_read_only(disk.format) ? " ro" : " rw");
}

std::string default_text(const CmdlineSource& source) {
  std::string text;
  if (source.earlycon) text += fmt::format("earlycon=uart8250,io,{:#x} ", layout::kEarlyconPort);
  if (source.console) text += "console=hvc0 ";
  text += "panic=-1 reboot=t";
  if (const auto index = root_disk(source)) text += root_text(source.disks[*index], *index);
  return text;
}

}  // namespace

std::string disk_name(std::size_t index) {
  std::string letters;
  for (std::size_t rest = index + 1; rest > 0; rest = (rest - 1) / 26)
    letters.insert(letters.begin(), static_cast<char>('a' + (rest - 1) % 26));
  return "vd" + letters;
}

Result<std::string> build_cmdline(const CmdlineSource& source, u32 limit) {
  if (source.text.find_first_of(std::string_view("\0\n", 2)) != std::string_view::npos)
    return fail(ErrorKind::kBadData, "cannot use the kernel command line: it has a NUL or a newline inside");
  std::string text = source.default_text ? default_text(source) : std::string();
  if (!text.empty() && !source.text.empty()) text += ' ';
  text += source.text;
  if (text.size() > limit)
    return fail(ErrorKind::kBadData,
                "cannot use the kernel command line: it has {} bytes, the kernel takes {}", text.size(),
                limit);
  return text;
}

}  // namespace uvmm
