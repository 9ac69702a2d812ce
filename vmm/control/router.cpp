// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>

#include <nlohmann/json.hpp>

#include "vmm/command/failure.h"
#include "vmm/command/values.h"
#include "vmm/control/body.h"
#include "vmm/control/metrics.h"

extern "C" const char uvmm_openapi[], uvmm_openapi_end[];

namespace uvmm::control {
namespace {

using nlohmann::ordered_json;

constexpr double kMostSeconds = 24 * 60 * 60;

Response json_response(const ordered_json& json, unsigned status = 200) {
  return {.status = status, .body = json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n'};
}

Reply answer(Response response) {
  return {.response = std::move(response)};
}

std::string_view name_of(State state) {
  switch (state) {
    case State::kCreated:
      return "created";
    case State::kRunning:
      return "running";
    case State::kPaused:
      return "paused";
    case State::kEnded:
      break;
  }
  return "stopped";
}

Response failure(const Error& error) {
  const unsigned status = error.kind == ErrorKind::kBusy      ? 409
                          : error.kind == ErrorKind::kBadData ? 400
                          : error.kind == ErrorKind::kNoInput ? 404
                                                              : 500;
  return problem(status, error.message, error.hint);
}

// --- the VM

Reply get_vm(Target& target, const Request&, std::string_view) {
  ordered_json json = {{"state", name_of(target.state())}};
  json.update(target.describe());
  return answer(json_response(json));
}

Reply get_config(Target& target, const Request&, std::string_view) {
  Result<std::string> text = target.config_json();
  if (!text) return answer(failure(text.error()));
  return answer({.body = std::move(*text)});
}

Response state_response(const Target& target, unsigned status = 200) {
  return json_response({{"state", name_of(target.state())}}, status);
}

Checked<bool> wants_wait(const Request& request) {
  const auto wait = request.query.find("wait");
  if (wait == request.query.end() || wait->second == "false") return false;
  if (wait->second == "true") return true;
  return std::unexpected(problem(400, "\"wait\" is neither true nor false", "?wait=true", "wait"));
}

Reply put_state(Target& target, const Request& request, std::string_view) {
  constexpr std::array<std::string_view, 3> kStates = {"running", "paused", "stopped"};
  constexpr std::array<std::string_view, 2> kModes = {"graceful", "force"};
  const Checked<bool> wait = wants_wait(request);
  if (!wait) return answer(wait.error());
  const Checked<Body> body = Body::parse(request.body, {"state", "mode", "timeout_s"});
  if (!body) return answer(body.error());
  const Checked<std::size_t> state = body->choice("state", kStates);
  if (!state) return answer(state.error());
  const Checked<std::size_t> mode = body->choice("mode", kModes, 0);
  if (!mode) return answer(mode.error());
  const Checked<std::optional<double>> seconds = body->seconds("timeout_s", kMostSeconds);
  if (!seconds) return answer(seconds.error());
  const std::string_view wanted = kStates[*state];
  const bool force = kModes[*mode] == "force";
  if (wanted != "stopped" && (body->has("mode") || body->has("timeout_s"))) {
    return answer(problem(400, fmt::format("\"{}\" has neither mode nor timeout_s", wanted),
                          "they are for \"stopped\"", body->has("mode") ? "mode" : "timeout_s"));
  }
  if (force && *seconds)
    return answer(problem(400, "\"force\" does not wait: it has no timeout_s", {}, "timeout_s"));
  if (wanted == "stopped" && !force && target.state() == State::kPaused) {
    return answer(problem(409, "a guest that is paused cannot power off",
                          "let it run before, or say \"mode\": \"force\"", "mode"));
  }

  if (wanted == "running") target.resume();
  if (wanted == "paused") target.pause();
  if (wanted != "stopped") return answer(state_response(target));
  if (force) {
    target.stop();
  } else if (*seconds) {
    target.shut_down(std::chrono::milliseconds(static_cast<std::int64_t>(**seconds * 1000)));
  } else {
    target.shut_down(std::nullopt);
  }
  if (*wait) return {.then = Reply::Then::kAwaitEnd};
  return answer(state_response(target, 202));
}

Reply post_reboot(Target& target, const Request& request, std::string_view) {
  const Checked<Body> body = Body::parse(request.body, {});
  if (!body) return answer(body.error());
  target.reboot();
  return answer(state_response(target, 202));
}

// --- devices

Response balloon_response(const Target::Balloon& balloon) {
  const MemoryStatistics& guest = balloon.guest;
  const std::pair<const char*, std::optional<std::uint64_t>> all[] = {
      {"total_bytes", guest.total_bytes},           {"free_bytes", guest.free_bytes},
      {"available_bytes", guest.available_bytes},   {"cache_bytes", guest.cache_bytes},
      {"swapped_in_bytes", guest.swapped_in_bytes}, {"swapped_out_bytes", guest.swapped_out_bytes},
      {"major_faults", guest.major_faults},         {"minor_faults", guest.minor_faults},
  };
  ordered_json says = ordered_json::object();
  for (const auto& [name, value] : all)
    if (value) says[name] = *value;
  return json_response({{"target_bytes", balloon.target}, {"actual_bytes", balloon.actual}, {"guest", says}});
}

Response no_balloon() {
  return problem(409, "this VM has no balloon", "start it without --balloon off");
}

Reply get_balloon(Target& target, const Request&, std::string_view) {
  const auto balloon = target.balloon();
  return answer(balloon ? balloon_response(*balloon) : no_balloon());
}

Reply put_balloon(Target& target, const Request& request, std::string_view) {
  const Checked<Body> body = Body::parse(request.body, {"target"});
  if (!body) return answer(body.error());
  const Checked<std::uint64_t> bytes = body->size("target");
  if (!bytes) return answer(bytes.error());
  const auto balloon = target.balloon();
  if (!balloon) return answer(no_balloon());
  if (*bytes > balloon->memory) {
    return answer(problem(400, "\"target\" is more memory than the guest has",
                          fmt::format("it has {}", command::Size::print(balloon->memory)), "target"));
  }
  target.set_balloon(*bytes);
  return answer(balloon_response(target.balloon().value_or(*balloon)));
}

// "disk3" is number 3.
Checked<std::size_t> number_of(std::string_view id, std::string_view kind) {
  std::uint64_t number = 0;
  const bool fits =
      id.starts_with(kind) && command::parse_number(id.substr(kind.size()), 999, number).empty();
  if (fits && id == fmt::format("{}{}", kind, number)) return static_cast<std::size_t>(number);
  return std::unexpected(
      problem(404, fmt::format("there is no {}", command::quote(id)), "GET /v1/vm says what there is"));
}

Reply patch_disk(Target& target, const Request& request, std::string_view id) {
  const Checked<std::size_t> index = number_of(id, "disk");
  if (!index) return answer(index.error());
  const Checked<Body> body = Body::parse(request.body, {"resize"});
  if (!body) return answer(body.error());
  const Checked<bool> resize = body->boolean("resize");
  if (!resize) return answer(resize.error());
  if (!*resize) return answer(problem(400, "there is nothing to do", {}, "resize"));
  const Result<std::uint64_t> bytes = target.resize_disk(*index);
  if (!bytes) return answer(failure(bytes.error()));
  return answer(json_response({{"id", id}, {"size_bytes", *bytes}}));
}

Reply patch_net(Target& target, const Request& request, std::string_view id) {
  constexpr std::array<std::string_view, 2> kLinks = {"down", "up"};
  const Checked<std::size_t> index = number_of(id, "net");
  if (!index) return answer(index.error());
  const Checked<Body> body = Body::parse(request.body, {"link"});
  if (!body) return answer(body.error());
  const Checked<std::size_t> link = body->choice("link", kLinks);
  if (!link) return answer(link.error());
  const Result<void> done = target.plug_in_net(*index, *link == 1);
  if (!done) return answer(failure(done.error()));
  return answer(json_response({{"id", id}, {"link", kLinks[*link]}}));
}

// Devices are on the PCI bus from the start: it has no slot into which one could be put later.
Reply post_device(Target&, const Request&, std::string_view) {
  return answer(problem(409, "a VM that runs takes no more devices: its PCI bus has no hot-plug",
                        "start it again with one more --disk, --net or --share"));
}

Reply get_console(Target& target, const Request& request, std::string_view) {
  if (!target.has_console())
    return answer(problem(409, "this VM has no console", "start it without --console off"));
  Response head{.content_type = "application/octet-stream"};
  if (request.wants_upgrade) {
    head.status = 101;
    head.fields.emplace_back("Upgrade", "uvmm-console");
  }
  return {.then = Reply::Then::kConsole, .response = std::move(head)};
}

// --- what is to be seen

Reply get_events(Target&, const Request& request, std::string_view) {
  Reply reply{.then = Reply::Then::kStreamEvents, .response = {.content_type = "application/x-ndjson"}};
  const auto since = request.query.find("since");
  if (since == request.query.end()) return reply;
  constexpr std::uint64_t kMost = std::uint64_t{1} << 62;
  if (const auto complaint = command::parse_number(since->second, kMost, reply.seen); !complaint.empty())
    return answer(problem(400, fmt::format("\"since\" {}", complaint), "the seq of an event", "since"));
  return reply;
}

Reply get_metrics(Target& target, const Request& request, std::string_view) {
  const Statistics statistics = target.statistics();
  if (request.accepts_json) return answer(json_response(metrics_json(statistics)));
  return answer(
      {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics_text(statistics)});
}

Response log_response(const Target& target) {
  std::string level = command::Level::print(target.log_level());  // as TOML, in quotes
  return {.body = fmt::format("{{\"level\":{}}}\n", level)};
}

Reply get_log(Target& target, const Request&, std::string_view) {
  return answer(log_response(target));
}

Reply put_log(Target& target, const Request& request, std::string_view) {
  constexpr std::array<std::string_view, 4> kLevels = {"error", "warning", "info", "debug"};
  const Checked<Body> body = Body::parse(request.body, {"level"});
  if (!body) return answer(body.error());
  const Checked<std::size_t> level = body->choice("level", kLevels);
  if (!level) return answer(level.error());
  target.set_log_level(static_cast<LogLevel>(*level));
  return answer(log_response(target));
}

Reply get_version(Target&, const Request&, std::string_view) {
  return answer(json_response({{"version", UVMM_VERSION}, {"api", "v1"}}));
}

Reply get_openapi(Target&, const Request&, std::string_view) {
  return answer({.body = std::string(openapi())});
}

// --- the table

struct Route {
  RouteName name;
  std::string_view query;  // the one query parameter that it has
  Reply (*handle)(Target& target, const Request& request, std::string_view id);
};

constexpr Route kRoutes[] = {
    {{"GET", "/v1/vm"}, "", get_vm},
    {{"GET", "/v1/vm/config"}, "", get_config},
    {{"PUT", "/v1/vm/state"}, "wait", put_state},
    {{"POST", "/v1/vm/reboot"}, "", post_reboot},
    {{"GET", "/v1/balloon"}, "", get_balloon},
    {{"PUT", "/v1/balloon"}, "", put_balloon},
    {{"POST", "/v1/disks"}, "", post_device},
    {{"PATCH", "/v1/disks/{id}"}, "", patch_disk},
    {{"POST", "/v1/nets"}, "", post_device},
    {{"PATCH", "/v1/nets/{id}"}, "", patch_net},
    {{"POST", "/v1/shares"}, "", post_device},
    {{"GET", "/v1/console"}, "", get_console},
    {{"GET", "/v1/events"}, "since", get_events},
    {{"GET", "/v1/metrics"}, "", get_metrics},
    {{"GET", "/v1/log"}, "", get_log},
    {{"PUT", "/v1/log"}, "", put_log},
    {{"GET", "/v1/version"}, "", get_version},
    {{"GET", "/v1/openapi.json"}, "", get_openapi},
};

constexpr auto kNames = [] {
  std::array<RouteName, std::size(kRoutes)> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kRoutes[i].name;
  return names;
}();

// Whether `path` is what `name` stands for, and the part of it that may vary.
std::optional<std::string_view> match(std::string_view name, std::string_view path) {
  constexpr std::string_view kId = "{id}";
  if (!name.ends_with(kId)) return name == path ? std::optional(std::string_view()) : std::nullopt;
  name.remove_suffix(kId.size());
  if (!path.starts_with(name) || path.size() == name.size()) return std::nullopt;
  path.remove_prefix(name.size());
  return path.find('/') == path.npos ? std::optional(path) : std::nullopt;
}

Response refuse_path(const Request& request) {
  std::string allowed;
  for (const Route& route : kRoutes) {
    if (!match(route.name.path, request.path)) continue;
    allowed += fmt::format("{}{}", allowed.empty() ? "" : ", ", route.name.method);
  }
  if (allowed.empty()) {
    return problem(404, fmt::format("there is no {}", command::quote(request.path)),
                   "GET /v1/openapi.json says what there is");
  }
  Response refusal = problem(405, fmt::format("{} cannot do that", command::quote(request.path)),
                             fmt::format("it can {}", allowed));
  refusal.fields.emplace_back("Allow", allowed);
  return refusal;
}

}  // namespace

Reply Router::handle(const Request& request) {
  const auto route = std::ranges::find_if(kRoutes, [&](const Route& candidate) {
    return candidate.name.method == request.method && match(candidate.name.path, request.path);
  });
  if (route == std::end(kRoutes)) return answer(refuse_path(request));
  for (const auto& [name, value] : request.query) {
    if (name == route->query) continue;
    return answer(problem(400, fmt::format("there is no parameter \"{}\"", command::quote(name)), {},
                          command::quote(name)));
  }
  return route->handle(target_, request, *match(route->name.path, request.path));
}

std::span<const RouteName> Router::routes() {
  return kNames;
}

std::string_view openapi() {
  return {uvmm_openapi, static_cast<std::size_t>(uvmm_openapi_end - uvmm_openapi)};
}

Response ended_response(std::string_view reason, int exit_status) {
  return json_response({{"state", "stopped"}, {"reason", reason}, {"exit_status", exit_status}});
}

}  // namespace uvmm::control
