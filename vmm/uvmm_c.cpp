// SPDX-License-Identifier: Apache-2.0
// The C face of libuvmm: uvmm/uvmm.h in terms of uvmm/uvmm.hpp, and nothing else.
#include <uvmm/uvmm.h>

#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <uvmm/disk.hpp>
#include <uvmm/uvmm.hpp>

#include "vmm/uvmm_c_config.h"

struct uvmm_error {
  uvmm::Error error;
};

struct uvmm_statistics {
  uvmm::Statistics statistics;
};

namespace uvmm {
namespace {

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
  mutable std::mutex mutex{};
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
  Result<CConfig> given = translate(*config);
  if (!given) return conclude(std::unexpected(std::move(given.error())), error);
  return conclude(check(given->config), error);
}

uvmm_vm* uvmm_vm_create(const uvmm_config* config, uvmm_error** error) {
  Result<CConfig> given = translate(*config);
  if (!given) {
    report(error, std::move(given.error()));
    return nullptr;
  }
  Result<Vm> vm = Vm::create(std::move(given->config), std::move(given->callbacks));
  if (!vm) {
    report(error, std::move(vm.error()));
    return nullptr;
  }
  std::string cmdline(vm->cmdline());
  return new uvmm_vm{std::move(given->disks), std::move(*vm), std::move(cmdline)};
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
  const std::lock_guard lock(vm->mutex);
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
int uvmm_vm_resize_disk(uvmm_vm* vm, size_t disk, uint64_t* bytes, uvmm_error** error) {
  Result<std::uint64_t> size = vm->vm.resize_disk(disk);
  if (!size) return conclude(std::unexpected(std::move(size.error())), error);
  if (bytes) *bytes = *size;
  return 0;
}
int uvmm_vm_plug_in_net(uvmm_vm* vm, size_t net, int plugged_in, uvmm_error** error) {
  return conclude(vm->vm.plug_in_net(net, plugged_in != 0), error);
}
int uvmm_vm_attach_console(uvmm_vm* vm, int socket, uvmm_error** error) {
  return conclude(vm->vm.attach_console(socket), error);
}
void uvmm_vm_set_log_level(uvmm_vm* vm, uvmm_log_level level) {
  vm->vm.set_log_level(static_cast<LogLevel>(level));
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
