// SPDX-License-Identifier: Apache-2.0
#include "devices/console_end.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>

namespace uvmm {
namespace {

constexpr u64 kPause = 10'000'000;     // nanoseconds; after something that may pass
constexpr u64 kGrace = 1'000'000'000;  // for the last output to go out

bool is_socket(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

// What costs this output, and not all that follows.
bool may_pass(i32 error) {
  return error == -ENOSPC || error == -EDQUOT || error == -ENOMEM || error == -ENOBUFS;
}

}  // namespace

Result<std::unique_ptr<ConsoleEnd>> ConsoleEnd::open(Io& io, const ConsoleConfig& config, Log& log) {
  std::unique_ptr<ConsoleEnd> end(new ConsoleEnd(io, log));
  if (config.backlog) end->viewers_.keep_backlog();
  switch (config.kind) {
    case ConsoleConfig::Kind::kOff:
      break;
    case ConsoleConfig::Kind::kStreams:
      end->input_fd_ = config.input_fd;
      end->has_escape_ = config.escape;
      end->use_output(config.output_fd);
      break;
    case ConsoleConfig::Kind::kFile:
      UVMM_CHECK(end->open_file(config.path));
      break;
    case ConsoleConfig::Kind::kUnix:
      end->listener_.emplace(UVMM_TRY(UnixListener::listen(config.path)));
      break;
    case ConsoleConfig::Kind::kSink:
      end->input_fd_ = config.input_fd;
      end->sink_ = config.sink;
      break;
  }
  return end;
}

Result<void> ConsoleEnd::open_file(const std::string& path) {
  // Without waiting for the reader of a FIFO. Afterwards it may block, which on the ring is no harm.
  own_fd_ = Fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
  if (!own_fd_ || ::fcntl(own_fd_.get(), F_SETFL, O_APPEND) < 0) {
    return fail(ErrorKind::kCannotCreate, "cannot open {} for the console's output: {}", path,
                error_text(errno));
  }
  use_output(own_fd_.get());
  return {};
}

void ConsoleEnd::use_output(int fd) {
  output_fd_ = fd;
  output_is_socket_ = fd >= 0 && is_socket(fd);
}

void ConsoleEnd::start(std::function<void()> on_quit) {
  on_quit_ = std::move(on_quit);
  if (listener_) tasks_.spawn(serve_clients());
  if (input_fd_ >= 0) tasks_.spawn(read_input(input_fd_));
}

void ConsoleEnd::close() {
  closing_ = true;
  if (listener_) listener_->remove_path();  // now: the owner may end the process without destroying this
  input_ops_.cancel_all();
  input_wanted_.resume_all();
  if (writing_) tasks_.spawn(cut_off_output());
  viewers_.close(kGrace);
  report_dropped();
}

Task<> ConsoleEnd::cut_off_output() {
  co_await timer_ops_.sleep(kGrace);
  cut_off_ = true;  // the host may take what it was asked to cancel
  output_ops_.cancel_all();
}

// One client after another. A client that has nothing more to say is one that has hung up.
Task<> ConsoleEnd::serve_clients() {
  while (!closing_) {
    const int listening = listener_->fd();
    const i32 accepted = co_await input_ops_.accept(listening, SOCK_CLOEXEC);
    if (accepted < 0) {
      if (!closing_) co_await input_ops_.sleep(kPause);
      continue;
    }
    own_fd_ = Fd(accepted);
    hung_up_ = false;
    use_output(accepted);
    if (!output_.empty()) start_writing();
    co_await read_input(accepted);
    if (!closing_) {
      output_fd_ = -1;
      ::shutdown(accepted, SHUT_RDWR);  // ends a write that is in flight
    }
    while (writing_) co_await writing_ended_.wait();
    output_fd_ = -1;
    own_fd_.reset();
  }
}

// --- input

Task<> ConsoleEnd::read_input(int fd) {
  const std::span<u8> buffer(typed_);
  for (;;) {
    while (!closing_ && !hung_up_ && !wants_input()) co_await input_wanted_.wait();
    if (closing_ || hung_up_) co_return;
    const i32 ready = co_await input_ops_.poll(fd, POLLIN);
    if (ready < 0) co_return;
    const i32 got = co_await input_ops_.read(fd, buffer);
    if (got == -EAGAIN || got == -EINTR) {
      co_await input_ops_.sleep(kPause);
      continue;
    }
    if (got <= 0) co_return;
    stage(buffer.first(static_cast<u64>(got)));
  }
}

// A guest without room stops the reading. Where there is an escape, though, some keys are read ahead: it has
// to be found when the guest does not listen, then above all.
bool ConsoleEnd::wants_input() const {
  if (has_escape_) return staged_.size() < kInputBytes;
  return staged_.empty() && reader_ && reader_->wants_input();
}

void ConsoleEnd::stage(std::span<const u8> bytes) {
  if (has_escape_) {
    const u64 count = escape_.filter(bytes, filtered_);
    bytes = std::span<const u8>(filtered_).first(count);
  }
  staged_.push(bytes);
  deliver();
  if (escape_.quit() && on_quit_) std::exchange(on_quit_, nullptr)();
}

void ConsoleEnd::typed(std::span<const u8> bytes) {
  staged_.push(bytes);
  deliver();
}

void ConsoleEnd::deliver() {
  while (!staged_.empty() && reader_) {
    const u64 taken = reader_->take_input(staged_.front());
    if (taken == 0) return;
    staged_.drop_front(taken);
  }
}

void ConsoleEnd::reader_ready() {
  deliver();
  if (wants_input()) input_wanted_.resume_one();
  if (has_room()) viewers_.input_ready();
}

// --- output

void ConsoleEnd::write(std::span<const u8> bytes) {
  if (closing_) return;
  viewers_.write(bytes);
  if (sink_) return sink_({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (output_fd_ < 0) {
    if (listener_) output_.push_last(bytes, kBacklogBytes);
    return;
  }
  dropped_ += bytes.size() - output_.push(bytes);
  start_writing();
}

void ConsoleEnd::start_writing() {
  if (std::exchange(writing_, true)) return;
  tasks_.spawn(write_out());
  if (closing_ && writing_) tasks_.spawn(cut_off_output());  // a client that came at the last moment
}

OpAwaiter ConsoleEnd::attempt(std::span<const u8> bytes) {
  if (output_is_socket_) return output_ops_.send(output_fd_, bytes, MSG_NOSIGNAL);
  return output_ops_.write(output_fd_, bytes);
}

Task<> ConsoleEnd::write_out() {
  u32 refusals = 0;
  while (!output_.empty() && output_fd_ >= 0 && !cut_off_) {
    const std::span<const u8> bytes = output_.front();
    const i32 done = co_await attempt(bytes);
    if (output_fd_ < 0) break;  // the client has gone meanwhile
    if (done > 0) {
      output_.drop_front(static_cast<u64>(done));
      refusals = 0;
    } else if (done == -EAGAIN && refusals++ == 0) {  // the owner of the stream has made it non-blocking
      const int fd = output_fd_;
      co_await output_ops_.poll(fd, POLLOUT);
    } else if (done == -EAGAIN || done == -EINTR) {
      co_await output_ops_.sleep(kPause);
    } else if (may_pass(done)) {
      dropped_ += bytes.size();
      output_.drop_front(bytes.size());
    } else {
      output_failed(done);
    }
  }
  report_dropped();
  writing_ = false;
  if (closing_) timer_ops_.cancel_all();
  writing_ended_.resume_all();
}

void ConsoleEnd::output_failed(i32 error) {
  const int fd = std::exchange(output_fd_, -1);
  if (listener_) {  // the client has gone; what it has not read is the next one's
    hung_up_ = true;
    ::shutdown(fd, SHUT_RDWR);  // ends its input
    input_wanted_.resume_all();
    return;
  }
  output_.drop_front(output_.size());
  if (error == -ECANCELED) return;
  log_.warning("cannot write the console's output: {}; it is discarded from now on", error_text(-error));
}

void ConsoleEnd::report_dropped() {
  if (dropped_ == 0) return;
  log_.guest("{} bytes of the console's output were dropped: the host did not take them in time", dropped_);
  dropped_ = 0;
}

}  // namespace uvmm
