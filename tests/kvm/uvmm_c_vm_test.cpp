// SPDX-License-Identifier: Apache-2.0
// VMs by way of the C interface: what it has beyond the C++ one, which it passes on, is that all of it
// arrives.
#include <poll.h>
#include <uvmm/uvmm.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace uvmm {
namespace {

constexpr uint64_t kUnknown = UINT64_MAX;
constexpr int kMinute = 60'000;  // milliseconds

// A payload guest (guest-images/payloads) whose console, events and start come to this object.
class CVm {
 public:
  explicit CVm(const std::string& payload) {
    const std::string kernel = UVMM_PAYLOADS "/" + payload + ".elf";
    uvmm_config config;
    uvmm_config_init(&config, sizeof config);
    config.kernel = kernel.c_str();
    config.kernel_cache = 0;
    config.memory_bytes = 64 << 20;
    config.console = UVMM_CONSOLE_SINK;
    config.console_output = [](void* self, const void* bytes, size_t count) {
      static_cast<CVm*>(self)->output.append(static_cast<const char*>(bytes), count);
    };
    config.event = [](void* self, const uvmm_event* event) {
      static_cast<CVm*>(self)->events.push_back(event->kind);
    };
    config.before_first_run = [](void* self) { ++static_cast<CVm*>(self)->first_runs; };
    config.console_context = config.event_context = config.before_first_run_context = this;
    uvmm_error* error = nullptr;
    vm = uvmm_vm_create(&config, &error);
    if (!vm) FAIL(uvmm_error_message(error));
  }
  CVm(const CVm&) = delete;
  CVm& operator=(const CVm&) = delete;
  ~CVm() { uvmm_vm_destroy(vm); }

  void wait_for_state(uvmm_state state) const {
    while (uvmm_vm_state(vm) != state) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  uvmm_vm* vm = nullptr;
  std::string output;
  std::vector<int> events;
  int first_runs = 0;
};

}  // namespace

TEST_CASE("C: a VM runs on the caller's thread, and says what it does") {
  CVm c("hello");
  CHECK(uvmm_vm_state(c.vm) == UVMM_STATE_CREATED);
  CHECK(std::string(uvmm_vm_cmdline(c.vm)).starts_with("console=hvc0"));
  uvmm_vm_resize_console(c.vm, 100, 30);
  CHECK(uvmm_vm_run(c.vm) == UVMM_END_POWER_OFF);
  CHECK(uvmm_vm_state(c.vm) == UVMM_STATE_ENDED);
  CHECK(c.output == "hello from the guest\n");
  CHECK(c.events == std::vector<int>{UVMM_EVENT_STARTED, UVMM_EVENT_ENDED});
  CHECK(c.first_runs == 1);
  CHECK(std::string(uvmm_vm_end_detail(c.vm)).empty());

  uvmm_statistics* const statistics = uvmm_vm_statistics(c.vm);
  uvmm_vcpu_statistics vcpu = {.size = sizeof vcpu};
  CHECK(uvmm_statistics_vcpu(statistics, 0, &vcpu) == 0);
  CHECK(vcpu.mmio_write > 0);
  CHECK(vcpu.cpu_time_ns > 0);
  CHECK(uvmm_statistics_vcpu(statistics, 1, &vcpu) == -1);
  uvmm_device_statistics device = {.size = sizeof device};
  CHECK(uvmm_statistics_device(statistics, 0, &device) == 0);
  CHECK(std::string(device.name) == "console");
  CHECK(device.virtio_id == 3);
  uvmm_queue_statistics queue = {.size = offsetof(uvmm_queue_statistics, bytes_to_guest),
                                 .bytes_to_guest = 5};
  CHECK(uvmm_statistics_queue(statistics, 0, 1, &queue) == 0);
  CHECK(queue.bytes_from_guest == c.output.size());
  CHECK(queue.bytes_to_guest == 5);  // is beyond the size
  CHECK(uvmm_statistics_queue(statistics, 0, device.queue_count, &queue) == -1);
  CHECK(uvmm_statistics_device(statistics, 1000, &device) == -1);
  uvmm_statistics_free(statistics);
}

TEST_CASE("C: what there is to say of an end is kept") {
  CVm c("internal_error");
  CHECK(uvmm_vm_run(c.vm) == UVMM_END_INTERNAL_ERROR);
  CHECK_THAT(uvmm_vm_end_detail(c.vm), Catch::Contains("rip 00000000c0000000"));
}

TEST_CASE("C: a VM on a thread of its own is paused, typed to and ended") {
  CVm c("idle");
  uvmm_error* error = nullptr;
  CHECK(uvmm_vm_connect_vsock(c.vm, 22, &error) == -1);
  CHECK(uvmm_error_get_kind(error) == UVMM_ERROR_USAGE);
  uvmm_error_free(error);
  uvmm_vm_pause(c.vm);
  REQUIRE(uvmm_vm_start(c.vm, nullptr) == 0);
  c.wait_for_state(UVMM_STATE_PAUSED);
  uvmm_vm_resume(c.vm);
  CHECK(uvmm_vm_state(c.vm) == UVMM_STATE_RUNNING);
  CHECK(uvmm_vm_send_console_input(c.vm, "typed", 5) == 5);
  uvmm_end end = UVMM_END_POWER_OFF;
  CHECK(uvmm_vm_wait_for(c.vm, 0, &end) == 0);
  pollfd ended{.fd = uvmm_vm_end_fd(c.vm), .events = POLLIN, .revents = 0};
  CHECK(::poll(&ended, 1, 0) == 0);
  SECTION("by the power button, which it has no driver for") {
    uvmm_vm_shut_down(c.vm, GENERATE(-1, 0));
  }
  SECTION("by force") {
    uvmm_vm_stop(c.vm);
  }
  REQUIRE(::poll(&ended, 1, kMinute) == 1);
  CHECK(uvmm_vm_wait_for(c.vm, 0, &end) == 1);
  CHECK(end == UVMM_END_STOPPED);
  CHECK(uvmm_vm_wait(c.vm) == UVMM_END_STOPPED);
}

TEST_CASE("C: a guest says how it uses its memory, and does without some") {
  constexpr uint64_t kMiB = 1 << 20;
  CVm c("balloon");
  uvmm_memory_statistics memory = {.size = sizeof memory};
  uvmm_vm_memory_statistics(c.vm, &memory);
  CHECK(memory.total_bytes == kUnknown);
  CHECK(memory.minor_faults == kUnknown);

  REQUIRE(uvmm_vm_start(c.vm, nullptr) == 0);
  uvmm_end end = UVMM_END_STOPPED;
  while (memory.free_bytes != 2 * kMiB && !uvmm_vm_wait_for(c.vm, 1, &end))
    uvmm_vm_memory_statistics(c.vm, &memory);
  CHECK(memory.size == sizeof memory);
  CHECK(memory.total_bytes == 64 * kMiB);
  CHECK(memory.major_faults == 7);
  CHECK(memory.available_bytes == kUnknown);
  uvmm_memory_statistics older = {.size = offsetof(uvmm_memory_statistics, available_bytes),
                                  .major_faults = 5};
  uvmm_vm_memory_statistics(c.vm, &older);
  CHECK(older.free_bytes == 2 * kMiB);
  CHECK(older.major_faults == 5);

  uvmm_vm_set_balloon(c.vm, 3 * kMiB);
  while (uvmm_vm_balloon_bytes(c.vm) != 3 * kMiB && !uvmm_vm_wait_for(c.vm, 1, &end)) continue;
  CHECK(uvmm_vm_balloon_bytes(c.vm) == 3 * kMiB);
  uvmm_vm_set_balloon(c.vm, 0);
  CHECK(uvmm_vm_wait(c.vm) == UVMM_END_POWER_OFF);
  CHECK(c.output == "balloon: ok\n");
}

}  // namespace uvmm
