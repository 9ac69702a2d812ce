// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/console.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <optional>
#include <string_view>

#include "devices/escape_filter.h"
#include "vmm/base/fd.h"
#include "vmm/command/failure.h"
#include "vmm/command/messages.h"
#include "vmm/command/terminal.h"
#include "vmm/control/client.h"
#include "vmm/control/paths.h"

namespace uvmm::control {
namespace {

using command::write_all;

constexpr int kExitOnSignal = 128;
constexpr std::string_view kGreeting = "uvmm: Ctrl-a x leaves\r\n";

Fd ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return Fd(::signalfd(-1, &set, SFD_CLOEXEC));
}

// Both directions until one of them ends, or a signal says so.
class Relay {
 public:
  Relay(const Client& client, bool has_escape) : client_(client), has_escape_(has_escape) {}

  int run() {
    const Fd signals = ending_signals();
    while (!ended_) {
      std::array<pollfd, 3> wanted = {{{signals.get(), POLLIN, 0},
                                       {client_.fd(), POLLIN, 0},
                                       {has_input_ ? STDIN_FILENO : -1, POLLIN, 0}}};
      if (::poll(wanted.data(), wanted.size(), -1) < 0) continue;
      signalfd_siginfo signal{};
      if (wanted[0].revents && ::read(signals.get(), &signal, sizeof signal) == sizeof signal)
        return kExitOnSignal + static_cast<int>(signal.ssi_signo);
      if (wanted[1].revents) show();
      if (wanted[2].revents) type();
    }
    return 0;
  }

 private:
  void show() {
    char bytes[16 << 10];
    const ssize_t got = ::recv(client_.fd(), bytes, sizeof bytes, 0);
    ended_ = got <= 0 || !write_all(STDOUT_FILENO, {bytes, static_cast<std::size_t>(got)});
  }

  void type() {
    std::array<u8, 4096> typed;
    std::array<u8, typed.size() + 1> filtered;
    const ssize_t got = ::read(STDIN_FILENO, typed.data(), typed.size());
    has_input_ = got > 0;
    if (got <= 0) return;
    std::span<const u8> bytes(typed.data(), static_cast<std::size_t>(got));
    if (has_escape_) bytes = std::span(filtered).first(escape_.filter(bytes, filtered));
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    ended_ = !write_all(client_.fd(), text) || escape_.quit();
  }

  const Client& client_;
  const bool has_escape_;
  bool has_input_ = true;
  bool ended_ = false;
  EscapeFilter escape_;
};

}  // namespace

Result<int> console(std::span<const char* const> arguments) {
  if (arguments.size() != 1 || std::string_view(arguments[0]).starts_with('-')) {
    return command::with_hint(command::fail(ErrorKind::kUsage, "console wants one VM"),
                              "uvmm console NAME, or the path of its control socket");
  }
  const Result<std::string> path = find_socket(arguments[0]);
  if (!path) return std::unexpected(path.error());
  Result<Client> client = Client::connect(*path);
  if (!client) return std::unexpected(std::move(client.error()));
  ::signal(SIGPIPE, SIG_IGN);  // who reads may go, and so may the VM; the terminal is to be restored then
  std::string first;
  const Result<Answer> answer = client->upgrade("/v1/console", "uvmm-console", first);
  if (!answer) return std::unexpected(answer.error());
  if (answer->status != 101) return std::unexpected(error_of(*answer));

  const bool interactive = command::owns_input_terminal();
  const command::Terminal terminal(interactive);
  if (interactive) write_all(STDERR_FILENO, kGreeting);
  if (!write_all(STDOUT_FILENO, first)) return 0;
  return Relay(*client, interactive).run();
}

}  // namespace uvmm::control
