// SPDX-License-Identifier: Apache-2.0
// PasstEnd: user-mode networking. The host's end of a network device is a passt(1) of its own, a child
// process that turns the guest's frames into the sockets of an ordinary program. I/O thread only.
//
// When passt ends, the link goes down, and another is started after a pause, which grows while that keeps
// happening. passt itself ends when our end of the socket is closed, so it never outlives the process.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <uvmm/uvmm.hpp>

#include "devices/child_process.h"
#include "devices/frame_stream.h"
#include "devices/plain_net_end.h"
#include "vmm/base/log.h"

namespace uvmm {

class PasstEnd final : public PlainNetEnd {
 public:
  static constexpr u64 kFirstPause = 100'000'000;  // nanoseconds
  static constexpr u64 kLongestPause = 10'000'000'000;
  static constexpr i64 kLongLife = 10'000'000'000;  // after which an end is no sign that the next is near

  // Starts passt. Refused, with a remedy, if it is not installed.
  static Result<std::unique_ptr<NetEnd>> start(const NetConfig& config, Log& log);

  i32 receive(Io& io, u16 pair, std::span<const iovec> buffers) override;
  Task<i32> readable(Io& io, u16 pair) override;
  bool link_up() const override { return running_.has_value(); }

  using Clock = i64 (*)();  // nanoseconds
  // For tests: as start(), with another program and its arguments in passt's place.
  static Result<std::unique_ptr<PasstEnd>> start(std::vector<std::string> arguments, u16 mtu, Log& log,
                                                 Clock now_ns);

 private:
  struct Running {
    FrameStream stream;
    Fd errors;  // what it says on standard error
    ChildProcess process;
    i64 started_ns;
  };

  PasstEnd(std::vector<std::string> arguments, u16 mtu, Log& log, Clock now_ns);
  Result<void> run();
  void lost(i32 reason);
  void restart();
  i32 not_sent(i32 reason) const;
  Task<i32> send_in_turn(Io& io, std::span<const iovec> frame) override;
  Task<i32> flush(Io& io);

  const std::vector<std::string> arguments_;
  Log& log_;
  const Clock now_ns_;
  std::optional<Running> running_;
  u64 pause_ = kFirstPause;
};

// passt's command line for `config`.
std::vector<std::string> passt_arguments(const NetConfig& config);

}  // namespace uvmm
