// SPDX-License-Identifier: Apache-2.0
// Disk: a disk that the embedding program serves itself, in place of an image: DiskConfig::disk.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>

namespace uvmm {

// What the guest asks of a Disk. It is there until complete(), and so are its buffers: they are the guest's
// memory, which the guest may change meanwhile.
class DiskRequest {
 public:
  enum class Kind : std::uint8_t { kRead, kWrite, kFlush };
  Kind kind = Kind::kRead;
  std::uint64_t offset = 0;        // in bytes, a multiple of 512, and within the disk with all of `buffers`
  std::span<const iovec> buffers;  // a multiple of 512 bytes in all; of a flush none

  // All of it is done, or, with an errno value, has failed. Once, on any thread, also within Disk::submit().
  virtual void complete(int error = 0) = 0;

 protected:
  ~DiskRequest() = default;
};

class Disk {
 public:
  virtual ~Disk() = default;

  // A multiple of 512. It may grow while the VM runs, which Vm::resize_disk() makes known to the guest. Asked
  // for on the VM's thread.
  virtual std::uint64_t bytes() const = 0;

  // Takes a request, which it completes now or later: the guest's reset of the device, and the end of the VM,
  // wait for that. Requests may be completed in any order. A flush is complete when all writes that had been
  // completed before it was submitted are durable. Called on the thread that runs the VM, which serves all of
  // its devices: what may take long is for another thread.
  virtual void submit(DiskRequest& request) = 0;
};

}  // namespace uvmm
