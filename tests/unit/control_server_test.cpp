// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/fakes/fake_target.h"
#include "vmm/control/client.h"
#include "vmm/control/socket.h"

namespace uvmm::control {
namespace {

using namespace std::chrono_literals;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

constexpr auto kPatience = 20s;  // of these tests with the server

struct Fixture {
  Fixture() {
    char name[] = "/tmp/uvmm-control-XXXXXX";
    directory = ::mkdtemp(name);
    path = directory + "/socket";
    auto opened = ControlSocket::open({.kind = command::ControlChoice::Kind::kPath, .path = path}, "vm");
    REQUIRE(opened);
    socket.emplace(std::move(**opened));
  }
  ~Fixture() {
    server.reset();
    std::filesystem::remove_all(directory);
  }
  void serve(const Patience& patience = {}) {
    auto started = Server::start(socket->fd(), target, events, patience);
    REQUIRE(started);
    server = std::move(*started);
  }
  Client connect() {
    auto client = Client::connect(path, kPatience);
    REQUIRE(client);
    return std::move(*client);
  }

  std::string directory, path;
  std::optional<ControlSocket> socket;
  FakeTarget target;
  EventLog events;
  std::unique_ptr<Server> server;
};

void send(const Client& client, std::string_view text) {
  ::send(client.fd(), text.data(), text.size(), MSG_NOSIGNAL);
}

// All that comes until the server closes the connection.
std::string read_all(const Client& client) {
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = ::recv(client.fd(), buffer, sizeof buffer, 0)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  return text;
}

std::string read_until(const Client& client, std::string_view end) {
  std::string text;
  char byte;
  while (!text.ends_with(end) && ::recv(client.fd(), &byte, 1, 0) == 1) text += byte;
  return text;
}

bool is_closed(const Client& client) {
  pollfd end{.fd = client.fd(), .events = POLLIN, .revents = 0};
  char byte;
  return ::poll(&end, 1, 20'000) == 1 && ::recv(client.fd(), &byte, 1, 0) <= 0;
}

std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}));
}

TEST_CASE_METHOD(Fixture, "control server: one connection may ask many times") {
  serve();
  Client client = connect();
  for (int i = 0; i < 3; ++i) {
    const Result<Answer> answer = client.ask({.target = "/v1/log"});
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(answer->body == "{\"level\":\"warning\"}\n");
  }
}

TEST_CASE_METHOD(Fixture, "control server: requests that come together are answered in their order") {
  serve();
  const Client client = connect();
  send(client,
       "GET /v1/log HTTP/1.1\r\n\r\nGET /nothing HTTP/1.1\r\n\r\nGET /v1/vm HTTP/1.1\r\nConnection: "
       "close\r\n\r\n");
  const std::string text = read_all(client);
  const std::size_t first = text.find("HTTP/1.1 200"), second = text.find("HTTP/1.1 404");
  CHECK(first < second);
  CHECK(second < text.find("HTTP/1.1 200", second));
}

TEST_CASE_METHOD(Fixture, "control server: a client that says no more is answered what it has asked") {
  serve();
  const Client client = connect();
  send(client, "GET /v1/log HTTP/1.1\r\n\r\n");
  ::shutdown(client.fd(), SHUT_WR);
  CHECK_THAT(read_all(client), StartsWith("HTTP/1.1 200 OK"));
}

TEST_CASE_METHOD(Fixture,
                 "[case 170] control server: a request that does not come to an end is not waited for") {
  serve({.request = 50ms});
  for (const char* const start :
       {"G", "GET /v1/vm HTTP/1.1\r\nHost:", "PUT /v1/log HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"}) {
    CAPTURE(start);
    const Client client = connect();
    send(client, start);
    CHECK_THAT(read_all(client), StartsWith("HTTP/1.1 408"));
  }
}

TEST_CASE_METHOD(Fixture, "[case 170] control server: bytes one at a time do not prolong a request") {
  serve({.request = 100ms});
  const Client client = connect();
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (::send(client.fd(), "a", 1, MSG_NOSIGNAL) == 1 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(5ms);
  CHECK(std::chrono::steady_clock::now() < end);
}

TEST_CASE_METHOD(Fixture, "[case 170] control server: who asks nothing has to go") {
  serve({.idle = 50ms});
  const Client client = connect();
  CHECK(is_closed(client));
}

TEST_CASE_METHOD(Fixture, "[case 170] control server: who does not read is not written for") {
  serve({.request = 100ms});
  const Client client = connect();
  const std::string many = [] {
    std::string text;
    for (int i = 0; i < 200; ++i) text += "GET /v1/openapi.json HTTP/1.1\r\n\r\n";
    return text;
  }();
  send(client, many);
  pollfd end{.fd = client.fd(), .events = 0, .revents = 0};
  CHECK(::poll(&end, 1, 20'000) == 1);  // POLLHUP: it was closed although nothing was read
}

TEST_CASE_METHOD(Fixture,
                 "[case 170] control server: too many clients take each other's place, not the server's") {
  serve();
  std::vector<Client> clients;
  for (std::size_t i = 0; i < Server::kMostClients + 20; ++i) {
    clients.push_back(connect());
    const Result<Answer> answer = clients.back().ask({.target = "/v1/log"});
    REQUIRE(answer);
    REQUIRE(answer->status == 200);
  }
  CHECK(is_closed(clients.front()));  // the one that was idle longest
}

TEST_CASE_METHOD(
    Fixture,
    "[case 170] control server: clients in the middle of something are left alone, and others told") {
  serve();
  std::vector<Client> waiting;
  for (std::size_t i = 0; i < Server::kMostClients; ++i) {
    waiting.push_back(connect());
    send(waiting.back(), "GET /v1/events HTTP/1.1\r\n\r\n");
    read_until(waiting.back(), "\r\n\r\n");
  }
  const Client one_more = connect();
  CHECK_THAT(read_all(one_more), StartsWith("HTTP/1.1 503"));
  waiting.pop_back();
  for (;;) {  // as soon as the server has seen that
    const Client another = connect();
    send(another, "GET /v1/log HTTP/1.1\r\nConnection: close\r\n\r\n");
    if (read_all(another).starts_with("HTTP/1.1 200")) break;
  }
}

TEST_CASE_METHOD(Fixture, "[case 170] control server: what is no HTTP is answered and closed") {
  serve();
  const Client client = connect();
  send(client, std::string_view("\0\0\0\0\r\n\r\n", 8));
  CHECK_THAT(read_all(client), StartsWith("HTTP/1.1 400"));
}

TEST_CASE_METHOD(Fixture, "[case 173] control server: the socket is its owner's") {
  struct stat status{};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE_METHOD(Fixture,
                 "[case 173] control server: another user is refused even where the socket lets it in") {
  if (::geteuid() != 0) return;  // only root can be somebody else
  serve();
  ::chmod(directory.c_str(), 0755);
  ::chmod(path.c_str(), 0666);
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char status[12] = {};
    if (::setuid(65534) != 0) ::_exit(1);
    sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(name.sun_path, sizeof name.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) ::_exit(2);
    const ssize_t got = ::recv(fd, status, sizeof status, MSG_WAITALL);
    if (got > 0 && ::write(ends[1], status, static_cast<std::size_t>(got)) < 0) ::_exit(3);
    ::_exit(0);
  }
  ::close(ends[1]);
  char status[13] = {};
  CHECK(::read(ends[0], status, 12) == 12);
  CHECK(std::string(status) == "HTTP/1.1 403");
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  CHECK(target.calls.empty());
}

TEST_CASE_METHOD(
    Fixture, "[case 174] control server: a client that goes leaves nothing behind, and its request is done") {
  serve();
  connect().ask({.target = "/v1/log"});
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 100; ++i) {
    const Client client = connect();
    send(client, "PUT /v1/balloon HTTP/1.1\r\nContent-Length: 14\r\n\r\n{\"target\":4096}");
    const Client half = connect();
    send(half, "PUT /v1/balloon HTTP/1.1\r\nContent-Length: 14\r\n\r\n{\"targ");
    const Client waits = connect();
    send(waits, "PUT /v1/vm/state?wait=true HTTP/1.1\r\nContent-Length: 19\r\n\r\n{\"state\":\"stopped\"}");
  }
  Client last = connect();  // accepted after the others
  REQUIRE(last.ask({.target = "/v1/log"}));
  for (int i = 0; i < 2000 && open_descriptors() > before + 2; ++i) std::this_thread::sleep_for(10ms);
  CHECK(open_descriptors() <= before + 2);
  CHECK(std::ranges::count(target.calls, "shut down") == 100);
}

TEST_CASE_METHOD(Fixture, "control server: events come as they happen, from the number that is asked for") {
  events.add({.kind = Event::Kind::kStarted});
  events.add({.kind = Event::Kind::kPaused});
  serve();
  const Client client = connect();
  send(client, "GET /v1/events?since=1 HTTP/1.1\r\n\r\n");
  CHECK_THAT(read_until(client, "\r\n\r\n"), Contains("Content-Type: application/x-ndjson\r\n"));
  CHECK_THAT(read_until(client, "\n"), StartsWith("{\"seq\":2,") && Contains("\"event\":\"paused\""));
  events.add({.kind = Event::Kind::kDeviceError, .subject = "disk a", .detail = "I/O error"});
  CHECK_THAT(read_until(client, "\n"),
             StartsWith("{\"seq\":3,") && Contains("\"device\":\"disk a\",\"detail\":\"I/O error\""));
}

TEST_CASE_METHOD(Fixture, "control server: of many events the last are kept, and those sent have no gap") {
  for (std::size_t i = 0; i < 3 * EventLog::kMost; ++i)
    events.add({.kind = Event::Kind::kHelperDied, .detail = std::string(1000, 'x')});
  serve();
  const Client client = connect();
  send(client, "GET /v1/events HTTP/1.1\r\n\r\n");
  read_until(client, "\r\n\r\n");
  for (std::size_t i = 1; i <= EventLog::kMost; ++i) {
    const std::string seq = "{\"seq\":" + std::to_string(2 * EventLog::kMost + i) + ",";
    REQUIRE_THAT(read_until(client, "\n"), StartsWith(seq));
  }
}

TEST_CASE_METHOD(Fixture, "control server: a console's client talks to the console from then on") {
  serve();
  Client client = connect();
  std::string first;
  const Result<Answer> answer = client.upgrade("/v1/console", "uvmm-console", first);
  REQUIRE(answer);
  CHECK(answer->status == 101);
  CHECK(first.empty());
  const Fd viewer = target.take_viewer();
  REQUIRE(::send(viewer.get(), "login: ", 7, 0) == 7);
  CHECK(read_until(client, " ") == "login: ");
  send(client, "root\n");
  char typed[8] = {};
  pollfd input{.fd = viewer.get(), .events = POLLIN, .revents = 0};
  REQUIRE(::poll(&input, 1, 20'000) == 1);
  CHECK(::recv(viewer.get(), typed, sizeof typed, 0) == 5);
  CHECK(std::string_view(typed) == "root\n");
  server->finish(ended_response("power-off", 0));  // is over without it
  CHECK(::send(viewer.get(), "bye", 3, 0) == 3);
}

TEST_CASE_METHOD(Fixture, "control server: a client that is told what follows a console's head has it") {
  serve();
  const Client client = connect();
  send(client, "GET /v1/console HTTP/1.1\r\n\r\n");
  CHECK_THAT(read_until(client, "\r\n\r\n"), StartsWith("HTTP/1.1 200") && Contains("octet-stream"));
  Fd viewer = target.take_viewer();
  ::send(viewer.get(), "out", 3, 0);
  viewer.reset();
  CHECK(read_all(client) == "out");
}

TEST_CASE_METHOD(Fixture, "control server: at the VM's end who waits is told, and all are closed") {
  serve();
  const Client idle = connect();
  const Client watches = connect();
  send(watches, "GET /v1/events HTTP/1.1\r\n\r\n");
  read_until(watches, "\r\n\r\n");
  const Client waits = connect();
  send(waits, "PUT /v1/vm/state?wait=true HTTP/1.1\r\nContent-Length: 19\r\n\r\n{\"state\":\"stopped\"}");
  Client last = connect();
  for (int i = 0; i < 2000; ++i) {  // until the server has read the one before
    REQUIRE(last.ask({.target = "/v1/log"}));
    if (!target.calls.empty()) break;
  }
  events.add({.kind = Event::Kind::kEnded, .end = End::kPowerOff});
  server->finish(ended_response("power-off", 0));
  CHECK_THAT(read_all(waits), Contains("{\"state\":\"stopped\",\"reason\":\"power-off\",\"exit_status\":0}"));
  CHECK_THAT(read_all(watches), Contains("\"event\":\"stopped\",\"reason\":\"power-off\""));
  CHECK(is_closed(idle));
}

TEST_CASE_METHOD(Fixture, "control server: the end does not wait for one who does not read") {
  for (std::size_t i = 0; i < EventLog::kMost; ++i)
    events.add({.kind = Event::Kind::kHelperDied, .detail = std::string(4000, 'x')});
  serve();
  const Client client = connect();
  send(client, "GET /v1/events HTTP/1.1\r\n\r\n");
  read_until(client, "\r\n\r\n");
  server->finish(ended_response("power-off", 0));
  SUCCEED("it returned");
}

TEST_CASE("control socket: one that a dead process left is replaced, a live one is not") {
  Fixture fixture;
  const auto again = [&] {
    return ControlSocket::open({.kind = command::ControlChoice::Kind::kPath, .path = fixture.path}, "vm");
  };
  const auto busy = again();
  REQUIRE_FALSE(busy);
  CHECK(busy.error().kind == ErrorKind::kBusy);
  CHECK_THAT(busy.error().message, StartsWith("--control: "));

  const int fd = ::dup(fixture.socket->fd());
  fixture.socket.reset();
  CHECK_FALSE(std::filesystem::exists(fixture.path));
  ::close(fd);
  CHECK(again());
}

TEST_CASE("control socket: a descriptor has to be a socket that listens") {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const auto refused = ControlSocket::open({.kind = command::ControlChoice::Kind::kFd, .fd = null}, "vm");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::kBadData);
  ::close(null);

  const Fixture fixture;
  const int listening = ::dup(fixture.socket->fd());
  const auto taken = ControlSocket::open({.kind = command::ControlChoice::Kind::kFd, .fd = listening}, "vm");
  REQUIRE(taken);
  CHECK((*taken)->path().empty());
  CHECK(::fcntl((*taken)->fd(), F_GETFD) == FD_CLOEXEC);
}

TEST_CASE("control socket: a name for auto is a file's") {
  for (const char* const name : {"", ".", "..", ".hidden", "a/b", "../a"}) {
    CAPTURE(name);
    CHECK_FALSE(ControlSocket::open({.kind = command::ControlChoice::Kind::kAuto}, name));
  }
}

}  // namespace
}  // namespace uvmm::control
