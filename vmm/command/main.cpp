// SPDX-License-Identifier: Apache-2.0
// The uvmm command: from arguments to a Vm to an exit status.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <uvmm/uvmm.hpp>

#include "vmm/command/credentials_directory.h"
#include "vmm/command/doctor.h"
#include "vmm/command/dry_run.h"
#include "vmm/command/failure.h"
#include "vmm/command/help.h"
#include "vmm/command/leave.h"
#include "vmm/command/messages.h"
#include "vmm/command/own_files.h"
#include "vmm/command/parse.h"
#include "vmm/command/pidfile.h"
#include "vmm/command/print_config.h"
#include "vmm/command/signals.h"
#include "vmm/command/terminal.h"
#include "vmm/control/console.h"
#include "vmm/control/ctl.h"
#include "vmm/control/event_log.h"
#include "vmm/control/notify.h"
#include "vmm/control/server.h"
#include "vmm/control/socket.h"
#include "vmm/control/vm_target.h"

namespace uvmm::command {
namespace {

// Exit statuses beside those of ErrorKind.
constexpr int kExitReboot = 80;
constexpr int kExitPanic = 81;
constexpr int kExitCrash = 83;  // a triple fault or KVM's internal error
constexpr int kExitOnSignal = 128;
constexpr int kExitOnEscape = kExitOnSignal + SIGINT;  // Ctrl-a x is this command's Ctrl-C

// So that no descriptor that is opened later can be taken for a standard stream.
void open_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    if (::open("/dev/null", O_RDWR) != stream) ::_exit(static_cast<int>(ErrorKind::kHost));
  }
}

// In a process with threads the kernel takes 15 ms and more to enlarge the table of descriptors; while there
// is one thread it takes none. A VM has several descriptors for every CPU and queue.
void grow_descriptor_table() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  if (limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  constexpr rlim_t kHighest = 1023;
  const int high =
      ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, static_cast<int>(std::min(kHighest, limit.rlim_cur - 1)));
  if (high >= 0) ::close(high);
}

int print(int stream, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(stream, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return static_cast<int>(ErrorKind::kHost);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

int refuse(Messages& messages, const Error& error) {
  messages.error(error);
  return static_cast<int>(error.kind);
}

int print_or_refuse(Messages& messages, const Result<std::string>& text) {
  return text ? print(STDOUT_FILENO, *text) : refuse(messages, text.error());
}

// The status of a VM that was stopped.
int conclude_stop(Messages& messages, const Outcome& outcome, bool was_reset) {
  if (outcome.by_escape) {
    messages.log(LogLevel::kInfo, "ended by Ctrl-a x");
    return kExitOnEscape;
  }
  if (const int signal = ending_signal(); signal != 0) {
    messages.log(LogLevel::kInfo, "ended by a signal");
    return kExitOnSignal + signal;
  }
  messages.log(LogLevel::kInfo, was_reset ? "reset by the control socket" : "ended by the control socket");
  return was_reset ? kExitReboot : kExitOnSignal + SIGTERM;
}

// The status for how the VM ended; says so where it was not the guest's or the user's own wish. `by_guest` is
// what the guest wants it to be when it powers off.
int conclude(Messages& messages, const Outcome& outcome, bool was_reset, int by_guest) {
  const std::string detail = outcome.detail.empty() ? "" : "\n" + outcome.detail;
  switch (outcome.end) {
    case End::kPowerOff:
      messages.log(LogLevel::kInfo, "the guest powered off" + detail);
      return by_guest;
    case End::kReboot:
      messages.log(LogLevel::kInfo, "the guest rebooted" + detail);
      return kExitReboot;
    case End::kPanic:
      messages.log(LogLevel::kError, "the guest's kernel panicked" + detail);
      return kExitPanic;
    case End::kTripleFault:
      messages.log(LogLevel::kError, "the guest stopped: triple fault" + detail);
      return kExitCrash;
    case End::kInternalError:
      messages.log(LogLevel::kError, "KVM could not run the guest any further" + detail);
      return kExitCrash;
    case End::kStopped:
      break;
  }
  return conclude_stop(messages, outcome, was_reset);
}

// A Vm from `config`, or nothing if it was refused, with the reason told and `status` set.
std::optional<Vm> create(const Config& config, LogLevel level, const Origins& origins, Messages& messages,
                         control::EventLog* events, int& status) {
  Callbacks callbacks;
  if (events) callbacks.event = [events](const Event& event) { events->add(event); };
  callbacks.log_level = level;
  callbacks.log = [&messages](LogLevel line_level, std::string_view line) {
    messages.log_of_vm(line_level, line);
  };
  Result<Vm> vm = Vm::create(config, std::move(callbacks));
  if (vm) return std::move(*vm);
  status = refuse(messages, locate(std::move(vm.error()), origins));
  return std::nullopt;
}

// Files that others find this process by, for as long as the VM runs.
struct Presence {
  Pidfile pidfile;
  std::optional<control::ControlSocket> control;
  std::unique_ptr<control::GuestNotify> notify;  // may be none

  static Result<Presence> create(const Settings& settings) {
    Presence presence;
    if (!settings.pidfile.empty()) {
      Result<Pidfile> created = Pidfile::create(settings.pidfile);
      if (!created) return std::unexpected(std::move(created.error()));
      presence.pidfile = std::move(*created);
    }
    auto opened = control::ControlSocket::open(settings.control, settings.config.name);
    if (!opened) return std::unexpected(std::move(opened.error()));
    if (*opened) presence.control.emplace(std::move(**opened));
    return presence;
  }

  std::vector<std::string> paths() const {
    std::vector<std::string> paths;
    if (!pidfile.path().empty()) paths.push_back(pidfile.path());
    if (control && !control->path().empty()) paths.push_back(control->path());
    return paths;
  }

  void remove() {
    if (control) control->remove_path();
    if (notify) notify->remove();
    pidfile.remove();
  }
};

Result<void> watch(Vm& vm, const Settings& settings, const Presence& presence) {
  std::vector<std::string> files = presence.paths();
  if (settings.config.console.kind == ConsoleConfig::Kind::kUnix)
    files.push_back(settings.config.console.path);
  return watch_signals(vm, files);
}

// Ends the process by itself, with the Vm as it is: see leave().
[[noreturn]] void run(Vm& vm, const Settings& settings, Presence& presence,
                      const std::optional<control::EventLog>& events, Messages& messages) {
  const bool interactive = settings.config.console.escape;
  messages.log(LogLevel::kInfo, fmt::format("kernel command line: {}", vm.cmdline()));
  if (interactive && !settings.quiet) print(STDERR_FILENO, "uvmm: Ctrl-a x leaves\n");
  Terminal terminal(interactive);
  messages.set_raw(interactive);
  const auto refuse_to_run = [&](const Error& error) {
    Terminal::restore();
    presence.remove();
    ::_exit(refuse(messages, error));
  };
  if (const Result<void> watching = watch(vm, settings, presence); !watching) refuse_to_run(watching.error());
  control::VmTarget target(vm, settings, messages);
  std::unique_ptr<control::Server> server;
  if (presence.control) {
    auto started = control::Server::start(presence.control->fd(), target, *events);
    if (!started) refuse_to_run(started.error());
    server = std::move(*started);
  }
  if (presence.notify) {
    if (const Result<void> started = presence.notify->start(); !started) refuse_to_run(started.error());
  }

  const Outcome outcome = vm.run();

  Terminal::restore();
  messages.set_raw(false);
  const ExitCounts exits = vm.exits();
  messages.log(LogLevel::kInfo,
               fmt::format("exits: io_in {}, io_out {}, mmio_read {}, mmio_write {}, other {}", exits.io_in,
                           exits.io_out, exits.mmio_read, exits.mmio_write, exits.other));
  const int by_guest = presence.notify ? presence.notify->exit_status() : 0;
  const int status = conclude(messages, outcome, target.was_reset(), by_guest);
  if (presence.notify) presence.notify->stopping();
  presence.remove();
  if (server) server->finish(control::ended_response(control::reason(outcome.end), status));
  leave(status, settings.config.memory.hugepages);
}

int start(Parsed parsed, Messages& messages) {
  Settings& settings = parsed.settings;
  // Errors of the write, rather than the end of the process: the reader of a pipe has gone, or a file, a disk
  // included, grows beyond RLIMIT_FSIZE.
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);

  std::unique_ptr<control::GuestNotify> notify;
  if (!settings.dry_run) {
    auto prepared = control::GuestNotify::prepare(settings.config);
    if (!prepared) return refuse(messages, prepared.error());
    notify = std::move(*prepared);
  }
  int status = 0;
  std::optional<control::EventLog> events;
  if (settings.control.kind != ControlChoice::Kind::kOff) events.emplace();
  std::optional<Vm> vm = create(settings.config, settings.log_level, parsed.origins, messages,
                                events ? &*events : nullptr, status);
  if (!vm) return status;
  block_signals();  // no sooner: to unpack a kernel or to fill memory may take long

  Result<Presence> presence = Presence::create(settings);
  if (!presence) return refuse(messages, presence.error());
  if (settings.dry_run) return 0;
  presence->notify = std::move(notify);
  run(*vm, settings, *presence, events, messages);
}

int doctor(std::span<const char* const> arguments, Messages& messages) {
  if (!arguments.empty()) {
    return refuse(messages, {ErrorKind::kUsage, fmt::format("unexpected argument: {}", quote(arguments[0])),
                             "doctor takes none"});
  }
  const std::vector<Finding> findings = examine_machine();
  const int printed = print(STDOUT_FILENO, report(findings));
  return printed != 0 ? printed : exit_status(findings);
}

int run_command(std::span<const char* const> argv) {
  Messages messages;
  if (argv.size() < 2) {
    print(STDERR_FILENO, short_usage());
    return static_cast<int>(ErrorKind::kUsage);
  }
  const std::string_view first = argv[1];
  const control::Print to_output = [](std::string_view text) { print(STDOUT_FILENO, text); };
  const auto end = [&](const Result<void>& done) { return done ? 0 : refuse(messages, done.error()); };
  if (first == "doctor") return doctor(argv.subspan(2), messages);
  if (first == "ctl") return end(control::ctl(argv.subspan(2), to_output));
  if (first == "console") {
    const Result<int> status = control::console(argv.subspan(2));
    return status ? *status : refuse(messages, status.error());
  }
  if (first == "list") return end(control::list(argv.subspan(2), to_output));

  messages.set_format(log_format_of(argv));
  Result<Parsed> parsed = parse(argv);
  if (!parsed) return refuse(messages, parsed.error());
  Settings& settings = parsed->settings;
  if (settings.version) return print(STDOUT_FILENO, "uvmm " UVMM_VERSION "\n");
  if (settings.help && settings.help_topic.empty()) return print(STDOUT_FILENO, help());
  if (settings.help) return print_or_refuse(messages, help_on(settings.help_topic));
  settings.log_level = effective_log_level(settings);
  messages.set_format(settings.log_format);
  if (settings.print_config != ConfigFormat::kNone) {
    const bool json = settings.print_config == ConfigFormat::kJson;
    const int printed =
        print_or_refuse(messages, json ? print_config_json(settings) : print_config(settings));
    if (printed != 0 || !settings.dry_run) return printed;
  }
  add_own_credentials(settings.config.credentials);
  settings.config.console = console_config(settings.console, owns_input_terminal());
  if (const Result<void> checked = check_own_files(settings); !checked) {
    return refuse(messages, locate(checked.error(), parsed->origins));
  }
  settings.config.console.backlog = settings.control.kind != ControlChoice::Kind::kOff;
  if (settings.dry_run) {
    if (const Result<void> checked = prepare_dry_run(settings); !checked) {
      return refuse(messages, locate(checked.error(), parsed->origins));
    }
  }
  if (const Result<void> configured = messages.configure(settings); !configured) {
    return refuse(messages, configured.error());
  }
  if (settings.config.kernel.empty()) {
    return refuse(messages, {ErrorKind::kUsage, "--kernel: there is no kernel to boot",
                             "uvmm --kernel bzImage --disk store.erofs"});
  }
  if (const std::optional<VsockConfig>& vsock = settings.config.vsock; vsock && vsock->path.empty()) {
    const Error error{ErrorKind::kBadData, fmt::format("--vsock {}: path: there is none", vsock->cid),
                      "--vsock CID,path=SOCKET, where host programs connect"};
    return refuse(messages, locate(error, parsed->origins));
  }
  return start(std::move(*parsed), messages);
}

}  // namespace
}  // namespace uvmm::command

int main(int argc, char** argv) {
  uvmm::command::open_standard_streams();
  uvmm::command::grow_descriptor_table();
  return uvmm::command::run_command(std::span<const char* const>(argv, static_cast<std::size_t>(argc)));
}
