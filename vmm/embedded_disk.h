// SPDX-License-Identifier: Apache-2.0
// EmbeddedDisk: a door to the host at which a Disk of the embedding program answers what is asked of a disk's
// image; all else goes on to the real door. So the block device knows nothing of it.
//
// Lives in the Machine, longer than the device. I/O thread only, but for the completion of requests.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include <uvmm/disk.hpp>
#include <uvmm/uvmm.hpp>

#include "devices/disk_image.h"
#include "vmm/base/fd.h"
#include "vmm/base/io.h"
#include "vmm/base/result.h"

namespace uvmm {

class EmbeddedDisk final : public Io {
 public:
  // `config.disk` is there.
  static Result<std::unique_ptr<EmbeddedDisk>> create(Io& inner, const DiskConfig& config);
  EmbeddedDisk(const EmbeddedDisk&) = delete;
  EmbeddedDisk& operator=(const EmbeddedDisk&) = delete;
  ~EmbeddedDisk() override;  // idle(), and after close() nothing is in flight

  // What the block device takes for the image.
  DiskImage image() const;
  // How large the Disk says that it is, where that can be.
  Result<u64> current_bytes() const { return size_of(disk_, name_); }

  // Whether all requests have been completed.
  bool idle() const { return requests_out_ == 0; }
  // The end: waits for no completion any more.
  void close() { wakes_.cancel_all(); }

  void submit(Op& op) override;
  // What the Disk was asked for it completes in its own time.
  void cancel(Op& op) override {
    if (!is_for_disk(op)) inner_.cancel(op);
  }
  void at_turn_end(TurnEnd& hook) override { inner_.at_turn_end(hook); }
  void forget(TurnEnd& hook) override { inner_.forget(hook); }
  void before_sleep(BeforeSleep& hook) override { inner_.before_sleep(hook); }
  void forget(BeforeSleep& hook) override { inner_.forget(hook); }
  i32 readv_now(int fd, std::span<const iovec> buffers) override { return inner_.readv_now(fd, buffers); }
  i32 writev_now(int fd, std::span<const iovec> buffers, u64 offset, u32 rwf_flags) override {
    return inner_.writev_now(fd, buffers, offset, rwf_flags);
  }

 private:
  struct Request final : DiskRequest {
    void complete(int error) override { owner->completed(*this, error); }

    EmbeddedDisk* owner = nullptr;
    Op* op = nullptr;
    bool is_out = false;      // it was asked for, and not completed yet
    int failure = 0;          // an errno value
    Request* next = nullptr;  // free, or completed
  };
  struct WakeOp : Op {
    EmbeddedDisk* owner = nullptr;
  };

  EmbeddedDisk(Io& inner, const DiskConfig& config, Fd wake_fd);
  static Result<u64> size_of(const Disk& disk, const std::string& name);
  static bool is_for_disk(const Op& op);
  Request& new_request();
  void await_completions();
  void completed(Request& request, int error);
  void finish_completed();

  Io& inner_;
  Disk& disk_;
  const std::string name_;
  const bool read_only_;
  OpGroup wakes_;
  Fd wake_fd_;  // an eventfd that is polled and never read: each write is one completion
  WakeOp wake_op_;
  bool awaits_completions_ = false;
  u32 requests_out_ = 0;
  std::vector<std::unique_ptr<Request>> requests_;  // all there are: as many as were ever out at once
  Request* first_free_ = nullptr;

  std::mutex mutex_;
  Request* first_completed_ = nullptr;  // in order
  Request** last_completed_ = &first_completed_;
};

}  // namespace uvmm
