// SPDX-License-Identifier: Apache-2.0
#include "vmm/uvmm_c_config.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "vmm/base/result.h"

namespace uvmm {
namespace {

static_assert(int(DiskRequest::Kind::kFlush) == UVMM_DISK_FLUSH);
static_assert(int(NetConfig::Kind::kSocket) == UVMM_NET_SOCKET);
static_assert(int(ShareConfig::Cache::kNever) == UVMM_SHARE_CACHE_NEVER);
static_assert(int(ConsoleConfig::Kind::kSink) == UVMM_CONSOLE_SINK);
static_assert(int(LogLevel::kDebug) == UVMM_LOG_DEBUG);
static_assert(int(End::kStopped) == UVMM_END_STOPPED);
static_assert(int(Event::Kind::kEnded) == UVMM_EVENT_ENDED);
static_assert(int(State::kEnded) == UVMM_STATE_ENDED);

std::string text(const char* string) {
  return string ? string : "";
}

// A structure whose size was forgotten would count as one of zeros: a network, say, that nobody asked for.
template <typename Struct>
Result<void> check_size(const Struct* array, std::size_t count, const char* name) {
  if (count == 0 || array->size > sizeof array->size) return {};
  return with_hint(fail(ErrorKind::kUsage, "{}: its size is not set", name),
                   fmt::format("`.size = sizeof({})`", name));
}

// Calls `use` with each of an array's elements, which are as large as the first one says.
template <typename Struct, typename Use>
void for_each(const Struct* array, std::size_t count, Use use) {
  for (std::size_t i = 0; i < count; ++i) {
    const char* const start = reinterpret_cast<const char*>(array) + i * array->size;
    use(known_part(*reinterpret_cast<const Struct*>(start)));
  }
}

DiskConfig translate(const uvmm_disk_config& given, CallbackDisks& disks) {
  DiskConfig disk{.path = text(given.path),
                  .root = given.root != 0,
                  .serial = text(given.serial),
                  .direct = given.direct != 0,
                  .queues = given.queues,
                  .lock = given.no_lock == 0};
  if (given.read_only >= 0) disk.read_only = given.read_only != 0;
  if (given.disk) {
    disks.push_back(std::make_unique<CallbackDisk>(known_part(*given.disk)));
    disk.disk = disks.back().get();
  }
  return disk;
}

NetConfig translate(const uvmm_net_config& given) {
  NetConfig net{.kind = static_cast<NetConfig::Kind>(given.kind),
                .tap = text(given.tap),
                .fds = {given.fds, given.fds + given.fd_count},
                .mtu = given.mtu,
                .queues = given.queues};
  if (given.queue_size != 0)
    net.queue_size = static_cast<std::uint16_t>(std::min<std::size_t>(given.queue_size, UINT16_MAX));
  for_each(given.forwards, given.forward_count, [&](const uvmm_net_forward& forward) {
    using Protocol = NetForward::Protocol;
    net.forwards.push_back({.protocol = forward.udp ? Protocol::kUdp : Protocol::kTcp,
                            .host_address = text(forward.host_address),
                            .host_port = forward.host_port,
                            .guest_address = text(forward.guest_address),
                            .guest_port = forward.guest_port});
  });
  if (given.mac) std::copy_n(given.mac, net.mac.emplace().size(), net.mac->begin());
  return net;
}

ShareConfig translate(const uvmm_share_config& given) {
  ShareConfig share{.path = text(given.path),
                    .tag = text(given.tag),
                    .read_only = given.read_only != 0,
                    .cache = static_cast<ShareConfig::Cache>(given.cache),
                    .writeback = given.writeback != 0};
  if (given.uid >= 0) share.uid = static_cast<std::uint32_t>(given.uid);
  if (given.gid >= 0) share.gid = static_cast<std::uint32_t>(given.gid);
  return share;
}

ConsoleConfig translate_console(const uvmm_config& given) {
  ConsoleConfig console{.kind = static_cast<ConsoleConfig::Kind>(given.console),
                        .input_fd = given.console_input_fd,
                        .output_fd = given.console_output_fd,
                        .escape = given.console_escape != 0,
                        .path = text(given.console_path),
                        .backlog = given.console_backlog != 0};
  if (const auto output = given.console_output) {
    console.sink = [output, context = given.console_context](std::string_view bytes) {
      output(context, bytes.data(), bytes.size());
    };
  }
  return console;
}

std::optional<VsockConfig> translate_vsock(const uvmm_config& given) {
  if (given.vsock_cid == 0) return std::nullopt;
  VsockConfig vsock{.cid = given.vsock_cid, .path = text(given.vsock_path)};
  for_each(given.vsock_listeners, given.vsock_listener_count, [&](const uvmm_vsock_listener& listener) {
    VsockListener& added = vsock.listeners.emplace_back(VsockListener{.port = listener.port});
    if (const auto connected = listener.connected)
      added.connected = [connected, context = listener.context](int fd) { connected(context, fd); };
  });
  return vsock;
}

Result<void> check_disk(const uvmm_disk_config& disk) {
  if (!disk.disk) return {};
  if (Result<void> checked = check_size(disk.disk, 1, "uvmm_disk"); !checked) return checked;
  if (known_part(*disk.disk).submit) return {};
  return std::unexpected(Error{ErrorKind::kBadData, "--disk " + text(disk.path) + ": nobody serves it", {}});
}

Result<void> check_structures(const uvmm_config& given) {
  Result<void> checked;
  const auto check_all = [&](const auto* array, std::size_t count, const char* name) {
    if (checked) checked = check_size(array, count, name);
    return checked.has_value();
  };
  if (check_all(given.disks, given.disk_count, "uvmm_disk_config")) {
    for_each(given.disks, given.disk_count, [&](const uvmm_disk_config& disk) {
      if (checked) checked = check_disk(disk);
    });
  }
  if (check_all(given.nets, given.net_count, "uvmm_net_config")) {
    for_each(given.nets, given.net_count, [&](const uvmm_net_config& net) {
      check_all(net.forwards, net.forward_count, "uvmm_net_forward");
    });
  }
  check_all(given.shares, given.share_count, "uvmm_share_config");
  check_all(given.credentials, given.credential_count, "uvmm_credential");
  check_all(given.vsock_listeners, given.vsock_listener_count, "uvmm_vsock_listener");
  return checked;
}

Config translate(const uvmm_config& given, CallbackDisks& disks) {
  Config config{.name = text(given.name),
                .kernel = text(given.kernel),
                .cmdline = text(given.cmdline),
                .default_cmdline = given.default_cmdline != 0,
                .kernel_cache = given.kernel_cache != 0,
                .cpus = given.cpus,
                .memory = {.bytes = given.memory_bytes,
                           .hugepages = given.memory_hugepages != 0,
                           .prefault = given.memory_prefault != 0,
                           .mergeable = given.memory_mergeable != 0,
                           .shared = given.memory_shared != 0},
                .balloon = {.enabled = given.balloon != 0,
                            .bytes = given.balloon_bytes,
                            .deflate_on_oom = given.balloon_deflate_on_oom != 0,
                            .free_page_reporting = given.balloon_free_page_reporting != 0},
                .rng = given.rng != 0,
                .power_button = given.power_button != 0,
                .console = translate_console(given),
                .vsock = translate_vsock(given),
                .uuid = text(given.uuid),
                .earlycon = given.earlycon != 0};
  for (std::size_t i = 0; i < given.initrd_count; ++i) config.initrds.push_back(text(given.initrds[i]));
  for_each(given.disks, given.disk_count,
           [&](const uvmm_disk_config& disk) { config.disks.push_back(translate(disk, disks)); });
  for_each(given.nets, given.net_count,
           [&](const uvmm_net_config& net) { config.nets.push_back(translate(net)); });
  for_each(given.shares, given.share_count,
           [&](const uvmm_share_config& share) { config.shares.push_back(translate(share)); });
  for_each(given.credentials, given.credential_count, [&](const uvmm_credential& credential) {
    config.credentials.push_back({.id = text(credential.id), .path = text(credential.path)});
  });
  return config;
}

Callbacks translate_callbacks(const uvmm_config& given) {
  Callbacks callbacks{.log_level = static_cast<LogLevel>(given.log_level)};
  if (const auto log = given.log) {
    callbacks.log = [log, context = given.log_context](LogLevel level, std::string_view line) {
      log(context, static_cast<uvmm_log_level>(level), std::string(line).c_str());
    };
  }
  if (const auto tell = given.event) {
    callbacks.event = [tell, context = given.event_context](const Event& event) {
      const std::string subject(event.subject);
      const std::string detail(event.detail);
      const uvmm_event told{.size = sizeof told,
                            .kind = static_cast<uvmm_event_kind>(event.kind),
                            .subject = subject.c_str(),
                            .detail = detail.c_str(),
                            .end = static_cast<uvmm_end>(event.end)};
      tell(context, &told);
    };
  }
  if (const auto before = given.before_first_run)
    callbacks.before_first_run = [before, context = given.before_first_run_context] { before(context); };
  return callbacks;
}

}  // namespace

Result<CConfig> translate(const uvmm_config& given) {
  uvmm_config otherwise;
  uvmm_config_init(&otherwise, sizeof otherwise);
  const uvmm_config known = known_part(given, otherwise);
  if (Result<void> checked = check_structures(known); !checked) return std::unexpected(checked.error());
  CConfig translated{.callbacks = translate_callbacks(known)};
  translated.config = translate(known, translated.disks);
  return translated;
}

}  // namespace uvmm
