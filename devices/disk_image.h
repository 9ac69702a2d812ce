// SPDX-License-Identifier: Apache-2.0
// DiskImage: an opened and locked raw image or block device, and what its host says about it. open() on any
// thread; the values are constant; the descriptor and its lock last as long as the object.
#pragma once

#include <string>

#include <uvmm/uvmm.hpp>

#include "vmm/base/fd.h"
#include "vmm/base/result.h"
#include "vmm/base/types.h"

namespace uvmm {

inline constexpr u32 kSectorSize = 512;  // virtio 1.2, 5.2.4: what capacity and positions count in

class DiskImage {
 public:
  // What I/O on the descriptor must look like, and what is best.
  struct Geometry {
    u64 bytes = 0;                          // a multiple of offset_alignment
    u32 logical_block_size = kSectorSize;   // what the guest is told to count in
    u32 physical_block_size = kSectorSize;  // what the host writes without reading first
    u32 optimal_io_size = 0;                // 0: it has no preference
    u32 offset_alignment = kSectorSize;     // of positions and lengths: more than a sector with O_DIRECT only
    u32 memory_alignment = 1;               // of buffers: more than 1 with O_DIRECT only
    bool can_discard = false;               // a hole can be punched, as far as one can tell beforehand
  };

  // Opens `config.path` as a raw disk, never guessing a format from content (a guest writes that content).
  // `read_only` is what config.read_only came to for this image.
  static Result<DiskImage> open(const DiskConfig& config, bool read_only);

  // A descriptor that is known to be fit: for tests.
  DiskImage(Fd fd, std::string name, bool read_only, const Geometry& geometry)
      : fd_(std::move(fd)), name_(std::move(name)), read_only_(read_only), geometry_(geometry) {}

  int fd() const { return fd_.get(); }
  const std::string& name() const { return name_; }  // for messages
  bool read_only() const { return read_only_; }
  const Geometry& geometry() const { return geometry_; }
  // How large it is now, which somebody else may have changed. Refuses a size that open() would.
  Result<u64> current_bytes() const;

 private:
  Fd fd_;
  std::string name_;
  bool read_only_ = false;
  Geometry geometry_;
};

}  // namespace uvmm
