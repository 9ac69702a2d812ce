// SPDX-License-Identifier: Apache-2.0
// ConsoleViewers: those who look at a console beside the one whose it is, and type there. I/O thread only.
//
// A viewer is a stream socket. It is shown the last output from before it came, then what follows; what it is
// too slow to take is left out. It goes when it hangs up.
#pragma once

#include <list>
#include <optional>
#include <span>

#include "devices/byte_ring.h"
#include "vmm/base/fd.h"
#include "vmm/base/io.h"
#include "vmm/base/task.h"
#include "vmm/base/wait_list.h"

namespace uvmm {

class ConsoleViewers {
 public:
  static constexpr u64 kBacklogBytes = 64_KiB;            // the last output, which a viewer is shown first
  static constexpr u64 kOutputBytes = 2 * kBacklogBytes;  // the most that waits for one to take it
  static constexpr u64 kInputBytes = 4_KiB;               // the most that is read at once
  static constexpr u32 kMost = 16;

  // Where what they type goes.
  class Input {
   public:
    virtual bool has_room() const = 0;  // for kInputBytes
    virtual void typed(std::span<const u8> bytes) = 0;

   protected:
    ~Input() = default;
  };

  ConsoleViewers(Io& io, Input& input) : io_(io), timer_ops_(io), input_(input) {}
  ConsoleViewers(const ConsoleViewers&) = delete;
  ConsoleViewers& operator=(const ConsoleViewers&) = delete;

  // From now on the last output is kept. Before any is written.
  void keep_backlog() { backlog_.emplace(kBacklogBytes); }

  // False if there are too many.
  bool add(Fd socket);
  void write(std::span<const u8> bytes);
  // The input has room again.
  void input_ready() { room_.resume_all(); }

  // Nothing is read any more, and what has been written gets `grace` nanoseconds to go out. Over when
  // closed().
  void close(u64 grace);
  bool closed() const { return tasks_.empty(); }

 private:
  struct Viewer {
    Viewer(Io& io, Fd fd) : socket(std::move(fd)), input_ops(io), output_ops(io) {}
    Fd socket;
    OpGroup input_ops;
    OpGroup output_ops;
    ByteRing output{kOutputBytes};
    bool writing = false;
    bool gone = false;
    WaitList writing_ended;
  };

  Task<> serve(std::list<Viewer>::iterator viewer);
  Task<> write_out(Viewer& viewer);
  Task<> cut_off(u64 grace);
  void show(Viewer& viewer, std::span<const u8> bytes);
  void hang_up(Viewer& viewer);

  Io& io_;
  OpGroup timer_ops_;
  Input& input_;
  TaskScope tasks_;
  bool closing_ = false;
  std::optional<ByteRing> backlog_;
  std::list<Viewer> viewers_;
  WaitList room_;
};

}  // namespace uvmm
