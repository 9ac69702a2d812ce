// SPDX-License-Identifier: Apache-2.0
// ConsoleEnd: the host's end of the console: borrowed streams, a file, or a Unix socket with one client at a
// time. open() on any thread, everything else on the I/O thread. Outlives the device that writes to it and
// every reset of it.
//
// The guest never waits for whoever reads here: output goes to a bounded buffer, and what finds no room there
// is dropped, counted and reported. Nor is anything read that the guest has no buffer for. Descriptors that
// are borrowed keep their flags. On pipes a closed reader raises SIGPIPE, which the I/O thread's owner
// blocks; on sockets it is suppressed here.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>

#include <uvmm/uvmm.hpp>

#include "devices/byte_ring.h"
#include "devices/console_viewers.h"
#include "devices/escape_filter.h"
#include "devices/unix_listener.h"
#include "vmm/base/fd.h"
#include "vmm/base/io.h"
#include "vmm/base/log.h"
#include "vmm/base/result.h"
#include "vmm/base/task.h"
#include "vmm/base/wait_list.h"

namespace uvmm {

// The guest's side of the input.
class ConsoleReader {
 public:
  virtual bool wants_input() const = 0;
  // Takes as much as it has room for, from the start; how much.
  virtual u64 take_input(std::span<const u8> bytes) = 0;

 protected:
  ~ConsoleReader() = default;
};

class ConsoleEnd final : private ConsoleViewers::Input {
 public:
  static constexpr u64 kOutputBytes = 256_KiB;  // the most that waits to be written
  static constexpr u64 kBacklogBytes = 64_KiB;  // the last output that a socket's next client is shown
  static constexpr u64 kInputBytes = 4_KiB;     // the most that is read at once
  static_assert(kInputBytes >= ConsoleViewers::kInputBytes);

  // Opens what `config` names, whose kind is not kOff.
  static Result<std::unique_ptr<ConsoleEnd>> open(Io& io, const ConsoleConfig& config, Log& log);
  ConsoleEnd(const ConsoleEnd&) = delete;
  ConsoleEnd& operator=(const ConsoleEnd&) = delete;

  // Begins to serve. `on_quit` is called once, when the user has typed the escape that ends the VM.
  void start(std::function<void()> on_quit = {});
  // Shows the output to `socket`, too, and takes input from there. False if there are too many of them.
  bool add_viewer(Fd socket) { return viewers_.add(std::move(socket)); }
  void set_reader(ConsoleReader* reader) { reader_ = reader; }

  // Output from the guest. Never waits.
  void write(std::span<const u8> bytes);
  // Counts output that was not even brought here.
  void drop(u64 bytes) { dropped_ += bytes; }
  // The reader has new room.
  void reader_ready();

  // The end: input is no longer read; what has been written by now gets a second to go out. It is over when
  // closed(), and only then may the object go away.
  void close();
  bool closed() const { return tasks_.empty() && viewers_.closed(); }

 private:
  ConsoleEnd(Io& io, Log& log)
      : input_ops_(io), output_ops_(io), timer_ops_(io), viewers_(io, *this), log_(log) {}
  Result<void> open_file(const std::string& path);
  void use_output(int fd);

  Task<> serve_clients();
  Task<> read_input(int fd);
  bool wants_input() const;
  bool has_room() const override { return staged_.size() < kInputBytes; }
  void typed(std::span<const u8> bytes) override;
  void stage(std::span<const u8> bytes);
  void deliver();

  void start_writing();
  Task<> write_out();
  OpAwaiter attempt(std::span<const u8> bytes);
  void output_failed(i32 error);
  void report_dropped();
  Task<> cut_off_output();

  OpGroup input_ops_;  // three, because they are cancelled apart
  OpGroup output_ops_;
  OpGroup timer_ops_;
  ConsoleViewers viewers_;
  Log& log_;
  TaskScope tasks_;
  bool closing_ = false;

  std::function<void(std::string_view)> sink_;  // where output goes instead, if there is one
  int input_fd_ = -1;
  int output_fd_ = -1;  // where output goes now; -1: nowhere
  bool output_is_socket_ = false;
  Fd own_fd_;  // the file, or the socket's client
  std::optional<UnixListener> listener_;
  bool hung_up_ = false;  // its client, as a failed write says

  ByteRing output_{kOutputBytes};
  bool writing_ = false;
  bool cut_off_ = false;  // no more is written, whatever has gone out
  WaitList writing_ended_;
  u64 dropped_ = 0;

  ConsoleReader* reader_ = nullptr;
  WaitList input_wanted_;
  std::array<u8, kInputBytes> typed_;
  std::array<u8, kInputBytes + 1> filtered_;
  ByteRing staged_{3 * kInputBytes};  // what the guest has not taken yet
  bool has_escape_ = false;
  EscapeFilter escape_;
  std::function<void()> on_quit_;
};

}  // namespace uvmm
