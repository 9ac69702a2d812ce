// SPDX-License-Identifier: Apache-2.0
#include "devices/passt.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

namespace uvmm {
namespace {

constexpr u32 kDefaultMtu = 65'520;  // what passt tells the guest by DHCP when nothing else is asked for
constexpr u32 kEthernetBytes = 14;

i64 monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * i64{1'000'000'000} + now.tv_nsec;
}

// ADDRESS/PORT:PORT, as passt has it.
std::string forward_text(const NetForward& forward) {
  const std::string address = forward.host_address.empty() ? "" : forward.host_address + "/";
  return fmt::format("{}{}:{}", address, forward.host_port, forward.guest_port);
}

// The last line that says something. (Debian 12's passt complains of a missing syslog about each of its
// lines.)
std::string complaint(int errors) {
  std::array<char, 4096> buffer;
  const ssize_t bytes = ::read(errors, buffer.data(), buffer.size());
  std::string_view text(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(bytes, 0)));
  std::string last;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (!line.empty() && !line.starts_with("Failed to send")) last = line;
  }
  return last;
}

}  // namespace

std::vector<std::string> passt_arguments(const NetConfig& config) {
  std::vector<std::string> arguments = {
      "passt", "--foreground", "--quiet", "--stderr", "--fd", std::to_string(ChildProcess::kSocket),
      "-a",    "10.0.2.15",    "-n",      "24",       "-g",   "10.0.2.2"};
  if (config.mtu != 0) arguments.insert(arguments.end(), {"-m", std::to_string(config.mtu)});
  for (const NetForward& forward : config.forwards) {
    arguments.push_back(forward.protocol == NetForward::Protocol::kUdp ? "-u" : "-t");
    arguments.push_back(forward_text(forward));
  }
  return arguments;
}

PasstEnd::PasstEnd(std::vector<std::string> arguments, u16 mtu, Log& log, Clock now_ns)
    : PlainNetEnd((mtu != 0 ? mtu : kDefaultMtu) + kEthernetBytes),
      arguments_(std::move(arguments)),
      log_(log),
      now_ns_(now_ns) {}

Result<std::unique_ptr<NetEnd>> PasstEnd::start(const NetConfig& config, Log& log) {
  auto end = start(passt_arguments(config), config.mtu, log, monotonic_ns);
  if (end) return std::unique_ptr<NetEnd>(std::move(*end));
  if (end.error().kind == ErrorKind::kUnavailable)
    return with_hint(fail(ErrorKind::kUnavailable, "--net user: {}", end.error().message),
                     "apt install passt");
  return std::unexpected(std::move(end.error()));
}

Result<std::unique_ptr<PasstEnd>> PasstEnd::start(std::vector<std::string> arguments, u16 mtu, Log& log,
                                                  Clock now_ns) {
  std::unique_ptr<PasstEnd> end(new PasstEnd(std::move(arguments), mtu, log, now_ns));
  UVMM_CHECK(end->run());
  return end;
}

Result<void> PasstEnd::run() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fail(ErrorKind::kHost, "cannot make a socket for {}: {}", arguments_[0], error_text(errno));
  const Fd theirs(pair[1]);
  FrameStream stream{Fd(pair[0])};
  // What it says when nobody reads any more is lost; it must not wait for us.
  int errors[2];
  if (::pipe2(errors, O_CLOEXEC | O_NONBLOCK) < 0)
    return fail(ErrorKind::kHost, "cannot make a pipe for {}: {}", arguments_[0], error_text(errno));
  Fd errors_read(errors[0]);
  const Fd errors_write(errors[1]);
  ChildProcess process = UVMM_TRY(ChildProcess::start(arguments_, theirs.get(), errors_write.get()));
  running_.emplace(std::move(stream), std::move(errors_read), std::move(process), now_ns_());
  return {};
}

void PasstEnd::lost(i32 reason) {
  const std::string said = complaint(running_->errors.get());
  if (now_ns_() - running_->started_ns > kLongLife) pause_ = kFirstPause;
  running_.reset();
  log_.event(Event::Kind::kHelperDied, "net user", "{} has ended ({}); another is started in {} ms",
             arguments_[0], said.empty() ? error_text(-reason) : said, pause_ / 1'000'000);
  if (said.find("No external routable interface") != said.npos)
    log_.warning("net user: the host has no default route, which passt wants");
  link_changed();
}

void PasstEnd::restart() {
  pause_ = std::min(pause_ * 2, kLongestPause);
  if (const Result<void> started = run(); !started) {
    log_.warning("net user: {}", started.error().message);
    return;
  }
  log_.info("net user: {} runs again", arguments_[0]);
  link_changed();
}

i32 PasstEnd::receive(Io&, u16, std::span<const iovec> buffers) {
  if (!running_) return -EAGAIN;
  constexpr std::array<u8, kHeaderBytes> kHeader{};
  const i32 got = running_->stream.receive(buffers, kHeader);
  if (got >= 0 || got == -EAGAIN) return got;
  lost(got);
  return -EAGAIN;
}

Task<i32> PasstEnd::readable(Io& io, u16) {
  if (!running_) {
    const u64 pause = pause_;
    const i32 slept = co_await io.sleep(pause);
    if (slept == -ECANCELED) co_return slept;
    restart();
    co_return 0;
  }
  if (running_->stream.has_frame()) co_return 0;
  const int fd = running_->stream.fd();
  const u32 events = POLLIN;
  const i32 ready = co_await io.poll(fd, events);
  co_return ready;
}

// What takes nothing any more may still be open for reading, and be waited for there: whoever does is told
// that it has ended.
i32 PasstEnd::not_sent(i32 reason) const {
  if (reason != -EMSGSIZE) ::shutdown(running_->stream.fd(), SHUT_RDWR);
  return reason;
}

Task<i32> PasstEnd::send_in_turn(Io& io, std::span<const iovec> frame) {
  const i32 flushed = co_await flush(io);
  if (flushed < 0) co_return flushed;
  for (;;) {
    if (!running_) co_return -ENETDOWN;
    const i32 sent = running_->stream.send(frame, kHeaderBytes);
    if (sent == 0) break;
    if (sent != -EAGAIN) co_return not_sent(sent);
    const int fd = running_->stream.fd();
    const u32 events = POLLOUT;
    const i32 ready = co_await io.poll(fd, events);
    if (ready < 0) co_return ready;
  }
  // The frame is on its way, whether or not the rest of it goes out now.
  co_await flush(io);
  co_return 0;
}

// Waits until passt has taken what it had begun to take.
Task<i32> PasstEnd::flush(Io& io) {
  for (;;) {
    if (!running_) co_return -ENETDOWN;
    const i32 flushed = running_->stream.flush();
    if (flushed == 0) co_return 0;
    if (flushed != -EAGAIN) co_return not_sent(flushed);
    const int fd = running_->stream.fd();
    const u32 events = POLLOUT;
    const i32 ready = co_await io.poll(fd, events);
    if (ready < 0) co_return ready;
  }
}

}  // namespace uvmm
