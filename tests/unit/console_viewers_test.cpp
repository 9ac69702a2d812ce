// SPDX-License-Identifier: Apache-2.0
#include "devices/console_viewers.h"

#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "tests/fakes/fake_io.h"

namespace uvmm {
namespace {

std::span<const u8> bytes(std::string_view text) {
  return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

struct FakeInput final : ConsoleViewers::Input {
  bool has_room() const override { return room; }
  void typed(std::span<const u8> typed_now) override { got.append(typed_now.begin(), typed_now.end()); }
  std::string got;
  bool room = true;
};

// Viewers on the fake door; their sockets are real.
struct Fixture {
  ~Fixture() {
    viewers.close(1);
    for (int turns = 0; !io.empty() && turns < 100; ++turns) io.finish_all(-ECANCELED);
    CHECK(viewers.closed());
  }
  // The client's end of a new one, whose input is waited for last.
  Fd add() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    added = viewers.add(Fd(ends[1]));
    return Fd(ends[0]);
  }
  void type(const Fd& client, std::string_view text) {
    REQUIRE(::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
    io.finish(io.size() - 1, POLLIN);
  }
  u32 sends() { return io.find(Op::Kind::kSend); }
  std::string shown() {
    const auto sent = io.bytes_of(sends());
    return {sent.begin(), sent.end()};
  }
  // All that waits for the one viewer that there is, taken.
  std::string take() {
    std::string all;
    while (sends() < io.size()) {
      all += shown();
      io.finish(sends(), static_cast<i32>(shown().size()));
    }
    return all;
  }

  FakeIo io;
  FakeInput input;
  ConsoleViewers viewers{io, input};
  bool added = false;
};

bool is_closed(const Fd& client) {
  pollfd end{.fd = client.get(), .events = POLLIN, .revents = 0};
  return ::poll(&end, 1, 0) == 1 && (end.revents & POLLHUP) != 0;
}

TEST_CASE_METHOD(Fixture, "console viewers: a late one is shown the last output, then what follows") {
  viewers.keep_backlog();
  viewers.write(bytes("before "));
  const Fd client = add();
  CHECK(shown() == "before ");
  viewers.write(bytes("after"));
  io.finish(sends(), 3);
  CHECK(take() == "ore after");
}

TEST_CASE_METHOD(Fixture, "console viewers: of much output the last 64 KiB are kept") {
  constexpr u64 kMost = ConsoleViewers::kBacklogBytes;
  viewers.keep_backlog();
  viewers.write(bytes(std::string(kMost, 'a')));
  viewers.write(bytes("end"));
  const Fd client = add();
  CHECK(take() == std::string(kMost - 3, 'a') + "end");
  viewers.write(bytes(std::string(kMost + 1, 'b') + 'c'));
  const Fd later = add();
  std::string both = take();
  CHECK(both.size() == 2 * kMost + 2);
  CHECK(both.substr(both.size() - 3) == "bbc");
}

TEST_CASE_METHOD(Fixture, "console viewers: without a backlog they are shown what comes from now on") {
  viewers.write(bytes("before"));
  const Fd client = add();
  CHECK(sends() == io.size());
  viewers.write(bytes("after"));
  CHECK(shown() == "after");
}

TEST_CASE_METHOD(Fixture,
                 "console viewers: what one is too slow for is left out, in whole pieces, and bounded") {
  const Fd client = add();
  viewers.write(bytes(std::string(ConsoleViewers::kOutputBytes - 2, 'a')));
  viewers.write(bytes("bcd"));
  viewers.write(bytes("ef"));
  CHECK(take() == std::string(ConsoleViewers::kOutputBytes - 2, 'a') + "ef");
}

TEST_CASE_METHOD(Fixture, "console viewers: all of them type to the console") {
  const Fd one = add();
  type(one, "ls");
  const Fd other = add();
  type(other, "\n");
  CHECK(input.got == "ls\n");
}

TEST_CASE_METHOD(Fixture, "[case 137] console viewers: a guest without room stops the reading") {
  const Fd client = add();
  input.room = false;
  type(client, "abc");
  CHECK(input.got.empty());
  CHECK(io.empty());
  input.room = true;
  viewers.input_ready();
  io.finish(io.find(Op::Kind::kPoll), POLLIN);
  CHECK(input.got == "abc");
}

TEST_CASE_METHOD(Fixture, "console viewers: one that hangs up is gone, in the middle of its output, too") {
  const bool writing = GENERATE(false, true);
  Fd client = add();
  if (writing) viewers.write(bytes("unread"));
  client.reset();
  io.finish(io.find(Op::Kind::kPoll), POLLIN | POLLHUP);
  if (writing) io.finish(sends(), -EPIPE);
  CHECK(io.empty());
  viewers.write(bytes("nobody"));
  CHECK(io.empty());
}

TEST_CASE_METHOD(Fixture, "[case 138] console viewers: one whose output fails is hung up on") {
  const Fd client = add();
  viewers.write(bytes("text"));
  io.finish(sends(), -ECONNRESET);
  io.finish(io.find(Op::Kind::kPoll), POLLIN);
  CHECK(io.empty());
  CHECK(is_closed(client));
}

TEST_CASE_METHOD(Fixture, "console viewers: a socket that is full is waited for") {
  const Fd client = add();
  viewers.write(bytes("text"));
  io.finish(sends(), -EAGAIN);
  REQUIRE(io.size() == 2);
  CHECK(io.pending(1).flags == POLLOUT);
  io.finish(1, POLLOUT);
  CHECK(take() == "text");
}

TEST_CASE_METHOD(Fixture, "console viewers: there are sixteen at most") {
  std::vector<Fd> clients;
  for (u32 i = 0; i < ConsoleViewers::kMost; ++i) {
    clients.push_back(add());
    CHECK(added);
  }
  const Fd one_more = add();
  CHECK_FALSE(added);
  CHECK(is_closed(one_more));
}

TEST_CASE_METHOD(Fixture,
                 "console viewers: at the end the last output goes out, and nothing is typed any more") {
  const Fd client = add();
  viewers.write(bytes("bye"));
  viewers.close(1);
  io.finish_cancelled();  // the input
  CHECK_FALSE(viewers.closed());
  CHECK(take() == "bye");
  io.finish_cancelled();  // the deadline
  CHECK(viewers.closed());
  CHECK(is_closed(client));
  add();
  CHECK_FALSE(added);
}

TEST_CASE_METHOD(Fixture, "console viewers: the end does not wait for ever for one that does not read") {
  const Fd client = add();
  viewers.write(bytes("bye"));
  viewers.close(1);
  io.finish_cancelled();
  io.finish(io.find(Op::Kind::kTimeout), -ETIME);
  io.finish_cancelled();
  CHECK(viewers.closed());
}

}  // namespace
}  // namespace uvmm
