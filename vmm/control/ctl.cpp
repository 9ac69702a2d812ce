// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/ctl.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "vmm/base/fd.h"
#include "vmm/command/failure.h"
#include "vmm/command/values.h"
#include "vmm/control/client.h"
#include "vmm/control/paths.h"

namespace uvmm::control {
namespace {

using command::fail;
using command::quote;
using command::with_hint;
using nlohmann::ordered_json;
using namespace std::chrono_literals;

constexpr auto kPatience = 10s;  // with a VM that does not answer

// What a user has written behind `ctl`.
struct Words {
  std::vector<std::string_view> plain;
  bool json = false, wait = false, force = false;
  std::optional<std::string_view> timeout, since;
};

struct Verb {
  std::string_view name;
  std::string_view arguments;
  std::string_view help;
  std::size_t fewest, most;  // arguments
  std::string_view options;  // those it has, beside --json
  Client::Call (*call)(const Words& words);
};

Client::Call put_state(std::string_view state) {
  return {.method = "PUT", .target = "/v1/vm/state", .body = ordered_json{{"state", state}}.dump()};
}

Client::Call stop(const Words& words) {
  constexpr std::string_view kTimeout = "30";
  std::string body = R"({"state":"stopped","mode":"force"})";
  if (!words.force)
    body = fmt::format(R"({{"state":"stopped","timeout_s":{}}})", words.timeout.value_or(kTimeout));
  return {.method = "PUT",
          .target = words.wait ? "/v1/vm/state?wait=true" : "/v1/vm/state",
          .body = std::move(body)};
}

Client::Call balloon(const Words& words) {
  if (words.plain.empty()) return {.target = "/v1/balloon"};
  return {.method = "PUT", .target = "/v1/balloon", .body = ordered_json{{"target", words.plain[0]}}.dump()};
}

Client::Call log(const Words& words) {
  if (words.plain.empty()) return {.target = "/v1/log"};
  return {.method = "PUT", .target = "/v1/log", .body = ordered_json{{"level", words.plain[0]}}.dump()};
}

Client::Call disk(const Words& words) {
  return {.method = "PATCH",
          .target = fmt::format("/v1/disks/{}", words.plain[0]),
          .body = ordered_json{{std::string(words.plain[1]), true}}.dump()};
}

Client::Call net(const Words& words) {
  return {.method = "PATCH",
          .target = fmt::format("/v1/nets/{}", words.plain[0]),
          .body = ordered_json{{"link", words.plain[1]}}.dump()};
}

constexpr Verb kVerbs[] = {
    {"status", "", "what the VM is and does", 0, 0, "",
     [](const Words&) -> Client::Call { return {.target = "/v1/vm"}; }},
    {"config", "", "its configuration as JSON", 0, 0, "",
     [](const Words&) -> Client::Call { return {.target = "/v1/vm/config"}; }},
    {"pause", "", "no vCPU runs until resume", 0, 0, "", [](const Words&) { return put_state("paused"); }},
    {"resume", "", "the vCPUs run again", 0, 0, "", [](const Words&) { return put_state("running"); }},
    {"stop", "",
     "asks the guest to power off, and ends the VM if it has not after --timeout S (30) or with --force", 0,
     0, "--wait --force --timeout", stop},
    {"power-button", "", "presses the guest's power button", 0, 0, "",
     [](const Words&) { return put_state("stopped"); }},
    {"reset", "", "ends the VM with the status of a reboot, 80", 0, 0, "",
     [](const Words&) -> Client::Call { return {.method = "POST", .target = "/v1/vm/reboot"}; }},
    {"balloon", "[SIZE]", "memory that the guest is to do without", 0, 1, "", balloon},
    {"metrics", "", "what the VM has counted, for Prometheus or as JSON", 0, 0, "",
     [](const Words&) -> Client::Call { return {.target = "/v1/metrics"}; }},
    {"events", "", "what happens, a line of JSON each, until the VM ends", 0, 0, "--since",
     [](const Words& words) -> Client::Call {
       return {.target = fmt::format("/v1/events?since={}", words.since.value_or("0"))};
     }},
    {"disk", "ID resize", "tells the guest the size that the disk's image has now", 2, 2, "", disk},
    {"net", "ID up|down", "plugs the network's cable in, or pulls it out", 2, 2, "", net},
    {"log", "[LEVEL]", "how much the VM says: error, warning, info, debug", 0, 1, "", log},
};

std::unexpected<Error> refuse(std::string message) {
  return with_hint(std::unexpected(Error{ErrorKind::kUsage, std::move(message), {}}), "see uvmm ctl --help");
}

// Takes the options out of `arguments`.
Result<Words> sort(std::span<const char* const> arguments, std::string_view allowed) {
  Words words;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const std::size_t equals = std::min(argument.find('='), argument.size());
    const std::string_view name = argument.substr(0, equals);
    if (!argument.starts_with("--")) {
      words.plain.push_back(argument);
      continue;
    }
    if (name != "--json" && fmt::format(" {} ", allowed).find(fmt::format(" {} ", name)) == std::string::npos)
      return refuse(fmt::format("unknown option: {}", quote(argument)));
    const bool has_value = name == "--timeout" || name == "--since";
    if (has_value && equals == argument.size() && ++i == arguments.size())
      return refuse(fmt::format("{}: its value is missing", name));
    if (!has_value && equals != argument.size()) return refuse(fmt::format("{} has no value", name));
    const std::string_view value = equals == argument.size() && has_value
                                       ? arguments[i]
                                       : argument.substr(std::min(equals + 1, argument.size()));
    std::uint64_t number = 0;
    if (has_value && !command::parse_number(value, std::uint64_t{1} << 62, number).empty())
      return refuse(fmt::format("{}: \"{}\" is not a number", name, quote(value)));
    if (name == "--json") words.json = true;
    if (name == "--wait") words.wait = true;
    if (name == "--force") words.force = true;
    if (name == "--timeout") words.timeout = value;
    if (name == "--since") words.since = value;
  }
  return words;
}

std::string member_text(const ordered_json& object, std::string_view name) {
  const auto found = object.find(name);
  if (found == object.end()) return {};
  return quote(found->is_string() ? found->get<std::string>() : found->dump());
}

// A JSON object as a person reads it: a line for each member.
std::string plain_text(const std::string& text) {
  const ordered_json json = ordered_json::parse(text, nullptr, false);
  if (!json.is_object()) return text;
  std::string lines;
  for (const auto& [name, value] : json.items())
    lines += fmt::format("{:<12} {}\n", name, member_text(json, name));
  return lines;
}

// A descriptor of the process that `path`'s VM runs in, if it can be had.
Fd process_of(const std::string& path) {
  Result<Client> client = Client::connect(path, kPatience);
  const Result<Answer> answer =
      client ? client->ask({.target = "/v1/vm"}) : Result<Answer>(std::unexpected(client.error()));
  if (!answer) return Fd();
  const auto json = nlohmann::json::parse(answer->body, nullptr, false);
  if (!json.is_object() || !json.contains("pid") || !json["pid"].is_number_integer()) return Fd();
  return Fd(static_cast<int>(::syscall(SYS_pidfd_open, json["pid"].get<int>(), 0)));
}

Result<void> carry_out(const Verb& verb, const std::string& path, const Words& words, const Print& print) {
  const Fd process = words.wait ? process_of(path) : Fd();
  const bool lasts = words.wait || verb.name == "events";
  Result<Client> client = Client::connect(path, lasts ? 0s : kPatience);
  if (!client) return std::unexpected(std::move(client.error()));
  Client::Call call = verb.call(words);
  if (words.json) call.accept = "application/json";
  if (verb.name == "events") call.on_body = print;
  const Result<Answer> answer = client->ask(call);
  if (!answer) return std::unexpected(answer.error());
  if (answer->status >= 400) return std::unexpected(error_of(*answer));
  if (answer->status == 0 && !words.wait)
    return fail(ErrorKind::kHost, "{}: the VM ended without an answer", quote(path));
  if (words.wait) {
    client->wait_for_end();
    pollfd end{.fd = process.get(), .events = POLLIN, .revents = 0};
    if (process) ::poll(&end, 1, -1);
  }
  const bool as_it_is = words.json || verb.name == "config";
  print(as_it_is ? answer->body : plain_text(answer->body));
  return {};
}

}  // namespace

std::string ctl_help() {
  std::string text =
      "usage: uvmm ctl VM VERB [ARGUMENT] [--json]\n"
      "VM is the name of one that runs with --control auto, or the path of its socket, with a slash in it.\n";
  for (const Verb& verb : kVerbs)
    text += fmt::format("  {:<16} {}\n", fmt::format("{} {}", verb.name, verb.arguments), verb.help);
  return text + "--wait returns when the VM's process is gone.\n";
}

std::vector<VerbHelp> ctl_verbs() {
  std::vector<VerbHelp> verbs;
  for (const Verb& verb : kVerbs) verbs.push_back({verb.name, verb.arguments, verb.help});
  return verbs;
}

Result<void> ctl(std::span<const char* const> arguments, const Print& print) {
  if (arguments.empty() || std::string_view(arguments[0]) == "--help") {
    print(ctl_help());
    return {};
  }
  if (arguments.size() < 2) return refuse("ctl: the verb is missing");
  const auto verb = std::ranges::find(kVerbs, std::string_view(arguments[1]), &Verb::name);
  if (verb == std::end(kVerbs)) {
    std::vector<std::string_view> names;
    for (const Verb& known : kVerbs) names.push_back(known.name);
    const std::string_view guess = command::nearest(arguments[1], names);
    return with_hint(fail(ErrorKind::kUsage, "ctl: unknown verb: {}", quote(arguments[1])),
                     guess.empty() ? "see uvmm ctl --help" : fmt::format("did you mean {}?", guess));
  }
  const Result<Words> words = sort(arguments.subspan(2), verb->options);
  if (!words) return std::unexpected(words.error());
  if (words->plain.size() < verb->fewest)
    return refuse(fmt::format("{} lacks {}", verb->name, verb->arguments));
  if (words->plain.size() > verb->most)
    return refuse(fmt::format("unexpected argument: {}", quote(words->plain[verb->most])));
  if (words->force && words->timeout) return refuse("--force does not wait: it has no --timeout");
  const Result<std::string> path = find_socket(arguments[0]);
  if (!path) return std::unexpected(path.error());
  return carry_out(*verb, *path, *words, print);
}

// --- list

Result<void> list(std::span<const char* const> arguments, const Print& print) {
  const Result<Words> words = sort(arguments, "");
  if (!words) return std::unexpected(words.error());
  if (!words->plain.empty()) return refuse(fmt::format("unexpected argument: {}", quote(words->plain[0])));
  ordered_json vms = ordered_json::array();
  for (const std::string& path : all_sockets()) {
    Result<Client> client = Client::connect(path, 1s);
    if (!client) continue;  // a dead one's, or another user's
    const Result<Answer> answer = client->ask({.target = "/v1/vm"});
    ordered_json vm = answer ? ordered_json::parse(answer->body, nullptr, false) : ordered_json();
    if (!vm.is_object()) continue;
    vm["socket"] = path;
    vms.push_back(std::move(vm));
  }
  if (words->json) {
    print(vms.dump(2) + '\n');
    return {};
  }
  constexpr std::string_view kColumns[] = {"name", "state", "pid", "uptime_s", "socket"};
  std::string text =
      fmt::format("{:<20} {:<8} {:>8} {:>10}  {}\n", "NAME", "STATE", "PID", "UPTIME_S", "SOCKET");
  for (const ordered_json& vm : vms) {
    std::vector<std::string> row;
    for (const std::string_view column : kColumns) row.push_back(member_text(vm, column));
    text += fmt::format("{:<20} {:<8} {:>8} {:>10}  {}\n", row[0], row[1], row[2], row[3], row[4]);
  }
  print(text);
  return {};
}

}  // namespace uvmm::control
