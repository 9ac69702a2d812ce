// SPDX-License-Identifier: Apache-2.0
// The C face of libuvmm: uvmm/uvmm.h in terms of uvmm/uvmm.hpp, and nothing else.
#include <uvmm/uvmm.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <uvmm/disk.hpp>
#include <uvmm/uvmm.hpp>

struct uvmm_error {
  uvmm::Error error;
};

struct uvmm_statistics {
  uvmm::Statistics statistics;
};

namespace uvmm {
namespace {

class CallbackDisk final : public Disk {
 public:
  explicit CallbackDisk(const uvmm_disk& functions) : functions_(functions) {}

  std::uint64_t bytes() const override { return functions_.bytes; }
  void submit(DiskRequest& request) override {
    functions_.submit(functions_.context, reinterpret_cast<uvmm_disk_request*>(&request),
                      static_cast<uvmm_disk_operation>(request.kind), request.offset, request.buffers.data(),
                      request.buffers.size());
  }

 private:
  const uvmm_disk functions_;
};

using CallbackDisks = std::vector<std::unique_ptr<CallbackDisk>>;

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

// What of `given` its maker knew; the rest is as in `otherwise`.
template <typename Struct>
Struct known_part(const Struct& given, Struct otherwise = {}) {
  std::memcpy(&otherwise, &given, std::min(given.size, sizeof otherwise));
  return otherwise;
}

// The same to a structure of the caller's, whose size stays what it was.
template <typename Struct>
void fill(Struct& result, Struct values) {
  values.size = result.size;
  std::memcpy(&result, &values, std::min(result.size, sizeof values));
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
                        .path = text(given.console_path)};
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
    const auto connected = [function = listener.connected, context = listener.context](int fd) {
      function(context, fd);
    };
    vsock.listeners.push_back({.port = listener.port, .connected = connected});
  });
  return vsock;
}

uvmm_config defaults() {
  uvmm_config config{};
  uvmm_config_init(&config, sizeof config);
  return config;
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
  return callbacks;
}

void report(uvmm_error** error, Error&& reason) {
  if (error) *error = new uvmm_error{std::move(reason)};
}

// 0, or -1 with the reason.
int conclude(Result<void> result, uvmm_error** error) {
  if (result) return 0;
  report(error, std::move(result.error()));
  return -1;
}

}  // namespace
}  // namespace uvmm

using namespace uvmm;

struct uvmm_vm {
  CallbackDisks disks;  // go after the VM
  Vm vm;
  std::string cmdline;
  std::mutex mutex{};
  std::optional<Outcome> outcome{};  // once told; for good
};

namespace {

// On any thread.
uvmm_end keep(uvmm_vm& vm, Outcome outcome) {
  const std::lock_guard lock(vm.mutex);
  if (!vm.outcome) vm.outcome = std::move(outcome);
  return static_cast<uvmm_end>(vm.outcome->end);
}

}  // namespace

const char* uvmm_version() {
  return UVMM_VERSION;
}

uvmm_error_kind uvmm_error_get_kind(const uvmm_error* error) {
  return static_cast<uvmm_error_kind>(error->error.kind);
}
const char* uvmm_error_message(const uvmm_error* error) {
  return error->error.message.c_str();
}
const char* uvmm_error_hint(const uvmm_error* error) {
  return error->error.hint.c_str();
}
void uvmm_error_free(uvmm_error* error) {
  delete error;
}

void uvmm_disk_complete(uvmm_disk_request* request, int error) {
  reinterpret_cast<DiskRequest*>(request)->complete(error);
}

void uvmm_config_init(uvmm_config* config, size_t size) {
  const Config otherwise;
  uvmm_config values{};
  values.default_cmdline = otherwise.default_cmdline;
  values.kernel_cache = otherwise.kernel_cache;
  values.cpus = otherwise.cpus;
  values.memory_bytes = otherwise.memory.bytes;
  values.balloon = otherwise.balloon.enabled;
  values.balloon_deflate_on_oom = otherwise.balloon.deflate_on_oom;
  values.balloon_free_page_reporting = otherwise.balloon.free_page_reporting;
  values.rng = otherwise.rng;
  values.power_button = otherwise.power_button;
  values.console_input_fd = values.console_output_fd = -1;
  values.log_level = UVMM_LOG_WARNING;
  std::memset(config, 0, size);
  config->size = size;
  fill(*config, values);
}

int uvmm_config_check(const uvmm_config* config, uvmm_error** error) {
  CallbackDisks disks;
  return conclude(check(translate(known_part(*config, defaults()), disks)), error);
}

uvmm_vm* uvmm_vm_create(const uvmm_config* config, uvmm_error** error) {
  const uvmm_config given = known_part(*config, defaults());
  CallbackDisks disks;
  Config translated = translate(given, disks);
  Result<Vm> vm = Vm::create(std::move(translated), translate_callbacks(given));
  if (!vm) {
    report(error, std::move(vm.error()));
    return nullptr;
  }
  std::string cmdline(vm->cmdline());
  return new uvmm_vm{std::move(disks), std::move(*vm), std::move(cmdline)};
}
void uvmm_vm_destroy(uvmm_vm* vm) {
  delete vm;
}

uvmm_end uvmm_vm_run(uvmm_vm* vm) {
  return keep(*vm, vm->vm.run());
}
int uvmm_vm_start(uvmm_vm* vm, uvmm_error** error) {
  return conclude(vm->vm.start(), error);
}
uvmm_end uvmm_vm_wait(uvmm_vm* vm) {
  return keep(*vm, vm->vm.wait());
}
int uvmm_vm_wait_for(uvmm_vm* vm, uint32_t milliseconds, uvmm_end* end) {
  std::optional<Outcome> outcome = vm->vm.wait_for(std::chrono::milliseconds(milliseconds));
  if (!outcome) return 0;
  *end = keep(*vm, std::move(*outcome));
  return 1;
}
const char* uvmm_vm_end_detail(const uvmm_vm* vm) {
  return vm->outcome ? vm->outcome->detail.c_str() : "";
}
int uvmm_vm_end_fd(const uvmm_vm* vm) {
  return vm->vm.end_fd();
}

void uvmm_vm_pause(uvmm_vm* vm) {
  vm->vm.pause();
}
void uvmm_vm_resume(uvmm_vm* vm) {
  vm->vm.resume();
}
void uvmm_vm_shut_down(uvmm_vm* vm, int64_t deadline_ms) {
  if (deadline_ms < 0) return vm->vm.shut_down();
  vm->vm.shut_down(std::chrono::milliseconds(deadline_ms));
}
void uvmm_vm_stop(uvmm_vm* vm) {
  vm->vm.stop();
}

uvmm_state uvmm_vm_state(const uvmm_vm* vm) {
  return static_cast<uvmm_state>(vm->vm.state());
}
const char* uvmm_vm_cmdline(const uvmm_vm* vm) {
  return vm->cmdline.c_str();
}

void uvmm_vm_resize_console(uvmm_vm* vm, uint16_t columns, uint16_t rows) {
  vm->vm.resize_console(columns, rows);
}
size_t uvmm_vm_send_console_input(uvmm_vm* vm, const void* bytes, size_t count) {
  return vm->vm.send_console_input({static_cast<const char*>(bytes), count});
}
void uvmm_vm_set_balloon(uvmm_vm* vm, uint64_t bytes) {
  vm->vm.set_balloon(bytes);
}
uint64_t uvmm_vm_balloon_bytes(const uvmm_vm* vm) {
  return vm->vm.balloon_bytes();
}
void uvmm_vm_memory_statistics(uvmm_vm* vm, uvmm_memory_statistics* result) {
  const MemoryStatistics said = vm->vm.memory_statistics();
  fill(*result, {.size = 0,
                 .total_bytes = said.total_bytes.value_or(UINT64_MAX),
                 .free_bytes = said.free_bytes.value_or(UINT64_MAX),
                 .available_bytes = said.available_bytes.value_or(UINT64_MAX),
                 .cache_bytes = said.cache_bytes.value_or(UINT64_MAX),
                 .swapped_in_bytes = said.swapped_in_bytes.value_or(UINT64_MAX),
                 .swapped_out_bytes = said.swapped_out_bytes.value_or(UINT64_MAX),
                 .major_faults = said.major_faults.value_or(UINT64_MAX),
                 .minor_faults = said.minor_faults.value_or(UINT64_MAX)});
}
int uvmm_vm_connect_vsock(uvmm_vm* vm, uint32_t port, uvmm_error** error) {
  Result<int> connected = vm->vm.connect_vsock(port);
  if (connected) return *connected;
  report(error, std::move(connected.error()));
  return -1;
}

uvmm_statistics* uvmm_vm_statistics(const uvmm_vm* vm) {
  return new uvmm_statistics{vm->vm.statistics()};
}
void uvmm_statistics_free(uvmm_statistics* statistics) {
  delete statistics;
}

int uvmm_statistics_vcpu(const uvmm_statistics* statistics, size_t vcpu, uvmm_vcpu_statistics* result) {
  const std::vector<VcpuStatistics>& all = statistics->statistics.vcpus;
  if (vcpu >= all.size()) return -1;
  const auto& [exits, cpu_time] = all[vcpu];
  fill(*result, {.size = 0,
                 .io_in = exits.io_in,
                 .io_out = exits.io_out,
                 .mmio_read = exits.mmio_read,
                 .mmio_write = exits.mmio_write,
                 .other = exits.other,
                 .cpu_time_ns = static_cast<uint64_t>(cpu_time.count())});
  return 0;
}

int uvmm_statistics_device(const uvmm_statistics* statistics, size_t device, uvmm_device_statistics* result) {
  const std::vector<DeviceStatistics>& all = statistics->statistics.devices;
  if (device >= all.size()) return -1;
  fill(*result, {.size = 0,
                 .name = all[device].name.c_str(),
                 .virtio_id = all[device].virtio_id,
                 .errors = all[device].errors,
                 .queue_count = all[device].queues.size()});
  return 0;
}

int uvmm_statistics_queue(const uvmm_statistics* statistics, size_t device, size_t queue,
                          uvmm_queue_statistics* result) {
  const std::vector<DeviceStatistics>& all = statistics->statistics.devices;
  if (device >= all.size() || queue >= all[device].queues.size()) return -1;
  const QueueStatistics& counted = all[device].queues[queue];
  fill(*result, {.size = 0,
                 .requests = counted.requests,
                 .bytes_from_guest = counted.bytes_from_guest,
                 .bytes_to_guest = counted.bytes_to_guest,
                 .notifications = counted.notifications,
                 .interrupts = counted.interrupts});
  return 0;
}
