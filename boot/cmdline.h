// SPDX-License-Identifier: Apache-2.0
// The kernel command line. Functions of their arguments; any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "boot/image_magic.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

struct CmdlineDisk {
  bool root = false;  // the user flagged it
  bool read_only = false;
  ImageFormat format = ImageFormat::kUnknown;
};

struct CmdlineSource {
  std::string_view text;     // the user's, which comes last and so wins
  bool default_text = true;  // else the user's is all there is
  bool console = true;       // there is a virtio console
  bool earlycon = false;
  bool initrd = false;
  std::span<const CmdlineDisk> disks;  // in probe order
};

// At most `limit` bytes (setup_header.cmdline_size) without the final NUL.
Result<std::string> build_cmdline(const CmdlineSource& source, u32 limit);

// The guest's name of the virtio disk `index`: vda, ..., vdz, vdaa.
std::string disk_name(std::size_t index);

}  // namespace uvmm
