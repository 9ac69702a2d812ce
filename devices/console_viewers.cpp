// SPDX-License-Identifier: Apache-2.0
#include "devices/console_viewers.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace uvmm {

bool ConsoleViewers::add(Fd socket) {
  if (closing_ || viewers_.size() >= kMost) return false;
  const auto viewer = viewers_.emplace(viewers_.end(), io_, std::move(socket));
  if (backlog_) {
    viewer->output.push(backlog_->front());
    viewer->output.push(backlog_->back());
  }
  tasks_.spawn(serve(viewer));
  return true;
}

void ConsoleViewers::write(std::span<const u8> bytes) {
  if (closing_) return;
  for (auto viewer = viewers_.begin(); viewer != viewers_.end();) show(*viewer++, bytes);
  if (backlog_) backlog_->push_last(bytes, kBacklogBytes);
}

// What does not fit is left out whole, so that the rest is what the guest wrote at one time.
void ConsoleViewers::show(Viewer& viewer, std::span<const u8> bytes) {
  if (viewer.gone || bytes.size() > kOutputBytes - viewer.output.size()) return;
  viewer.output.push(bytes);
  if (!viewer.writing) tasks_.spawn(write_out(viewer));
}

// Reads what is typed until the end; a read never waits, so that all viewers can share the input's room.
Task<> ConsoleViewers::serve(std::list<Viewer>::iterator at) {
  Viewer& viewer = *at;
  std::array<u8, kInputBytes> buffer;
  if (!viewer.output.empty()) tasks_.spawn(write_out(viewer));
  while (!viewer.gone && !closing_) {
    if (!input_.has_room()) {
      co_await room_.wait();
      continue;
    }
    const int fd = viewer.socket.get();
    const i32 ready = co_await viewer.input_ops.poll(fd, POLLIN);
    if (ready < 0) break;
    if (viewer.gone || closing_ || !input_.has_room()) continue;
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) break;
    input_.typed(std::span<const u8>(buffer).first(static_cast<u64>(got)));
  }
  if (!closing_) hang_up(viewer);
  while (viewer.writing) co_await viewer.writing_ended.wait();
  viewers_.erase(at);
}

void ConsoleViewers::hang_up(Viewer& viewer) {
  viewer.gone = true;
  ::shutdown(viewer.socket.get(), SHUT_RDWR);  // ends a read, or a write that is in flight
  room_.resume_all();
}

Task<> ConsoleViewers::write_out(Viewer& viewer) {
  viewer.writing = true;
  while (!viewer.output.empty() && !viewer.gone) {
    const std::span<const u8> bytes = viewer.output.front();
    const int fd = viewer.socket.get();
    const i32 done = co_await viewer.output_ops.send(fd, bytes, MSG_NOSIGNAL);
    if (done > 0) {
      viewer.output.drop_front(static_cast<u64>(done));
    } else if (done == -EAGAIN) {  // the socket is a non-blocking one
      const i32 ready = co_await viewer.output_ops.poll(fd, POLLOUT);
      if (ready < 0) hang_up(viewer);
    } else if (done != -EINTR) {
      hang_up(viewer);
    }
  }
  viewer.writing = false;
  viewer.writing_ended.resume_all();
  if (closing_ && std::ranges::none_of(viewers_, &Viewer::writing)) timer_ops_.cancel_all();
}

void ConsoleViewers::close(u64 grace) {
  closing_ = true;
  if (std::ranges::any_of(viewers_, &Viewer::writing)) tasks_.spawn(cut_off(grace));
  for (auto viewer = viewers_.begin(); viewer != viewers_.end();) (viewer++)->input_ops.cancel_all();
  room_.resume_all();
}

Task<> ConsoleViewers::cut_off(u64 grace) {
  co_await timer_ops_.sleep(grace);
  for (auto viewer = viewers_.begin(); viewer != viewers_.end();) {
    Viewer& late = *viewer++;
    hang_up(late);
    late.output_ops.cancel_all();
  }
}

}  // namespace uvmm
