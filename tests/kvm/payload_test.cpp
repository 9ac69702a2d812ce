// SPDX-License-Identifier: Apache-2.0
// Payload guests (guest-images/payloads) in whole VMs, through the public API only.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

#include <uvmm/disk.hpp>

#include "tests/fakes/loop_device.h"
#include "tests/kvm/payload_guest.h"

namespace uvmm {
namespace {

using Catch::Contains;
using namespace std::chrono_literals;

// A disk of this process's memory. Later is on a thread of its own.
class MemoryDisk final : public Disk {
 public:
  explicit MemoryDisk(std::size_t bytes) : content(bytes, '\0') {}
  ~MemoryDisk() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    if (server_.joinable()) server_.join();
  }

  std::uint64_t bytes() const override { return content.size(); }
  void submit(DiskRequest& request) override {
    ++requests;
    if (!answers_later) return serve(request);
    if (!server_.joinable()) server_ = std::thread([this] { serve_all(); });
    const std::lock_guard lock(mutex_);
    waiting_.push_back(&request);
    changed_.notify_all();
  }

  std::string content;
  bool answers_later = false;
  std::atomic<int> requests = 0;

 private:
  void serve(DiskRequest& request) {
    char* at = content.data() + request.offset;
    for (const iovec& buffer : request.buffers) {
      const bool is_read = request.kind == DiskRequest::Kind::kRead;
      if (is_read) std::memcpy(buffer.iov_base, at, buffer.iov_len);
      if (!is_read) std::memcpy(at, buffer.iov_base, buffer.iov_len);
      at += buffer.iov_len;
    }
    request.complete();
  }
  void serve_all() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const std::vector<DiskRequest*> now = std::exchange(waiting_, {});
      lock.unlock();
      for (DiskRequest* const request : now) serve(*request);
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::vector<DiskRequest*> waiting_;
  std::thread server_;
};

}  // namespace

// Of this process's memory.
long peak_kibibytes() {
  rusage use{};
  ::getrusage(RUSAGE_SELF, &use);
  return use.ru_maxrss;
}

TEST_CASE("payload: power-off through the sleep control register") {
  CHECK(Payload("poweroff").run().end == End::kPowerOff);
}

TEST_CASE("payload: reboot through the reset register") {
  CHECK(Payload("reset").run().end == End::kReboot);
}

TEST_CASE("payload: [case 159] a triple fault ends the VM") {
  const Outcome outcome = Payload("triple_fault").run();
  CHECK(outcome.end == End::kTripleFault);
  CHECK_THAT(outcome.detail, Contains("triple fault"));
}

TEST_CASE("payload: [case 159] an internal error ends the VM with registers and code") {
  Payload payload("internal_error");
  const Outcome outcome = payload.run();
  CHECK(payload.output == "jumping\n");
  CHECK(outcome.end == End::kInternalError);
  CHECK_THAT(outcome.detail, Contains("rip 00000000c0000000"));
  CHECK_THAT(outcome.detail, Contains("code "));
}

TEST_CASE("payload: text on the console is whole when the VM has ended") {
  Payload payload("hello");
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output == "hello from the guest\n");
}

TEST_CASE("payload: without any device the guest runs and ends") {
  Payload payload("hello");
  payload.config.console = {};
  payload.config.rng = false;
  payload.config.power_button = false;
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output.empty());
}

TEST_CASE("payload: PCI has the host bridge and one function for each device") {
  Payload payload("pci_list");
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("00:00.0 "));
  CHECK_THAT(payload.output, Contains("1af4:1043 "));  // console
  CHECK_THAT(payload.output, Contains("1af4:1044 "));  // entropy
  CHECK_THAT(payload.output, Contains("1af4:1045 "));  // balloon
  CHECK_THAT(payload.output, Contains("1af4:1052 "));  // power button
  CHECK(std::ranges::count(payload.output, '\n') == 5);
}

TEST_CASE("payload: [case 158] [case 160] no legacy hardware answers, nor anything outside the windows") {
  Payload payload("legacy_ports");
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output == "ports: ok\nholes: ok\n");
}

TEST_CASE("payload: every vCPU starts with an APIC id of its own") {
  Payload payload("smp");
  payload.config.cpus = GENERATE(1u, 2u, 5u, 64u);
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output == "smp: ok, " + std::to_string(payload.config.cpus) + " vCPUs\n");
}

TEST_CASE("payload: RAM is where the memory map has it, up to 16 GiB") {
  constexpr std::uint64_t kMiB = 1 << 20;
  Payload payload("ram");
  payload.config.memory.bytes = GENERATE(64 * kMiB, 1024 * kMiB, 3072 * kMiB, 3074 * kMiB, 16384 * kMiB);
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("ram: ok"));
}

TEST_CASE("payload: random bytes come, and come anew") {
  Payload payload("rng");
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output == "rng: ok\n");
}

TEST_CASE("payload: disks keep their order and serials, and what is written is in the file") {
  const TemporaryFile first(1 << 20), second(512), third(4096);
  Payload payload("block");
  payload.config.disks = {{.path = first.path(), .serial = "first"},
                          {.path = second.path(), .serial = "second"},
                          {.path = third.path(), .read_only = true, .serial = "twenty-bytes-exactly"}};
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output ==
        "disk 0: 2048 sectors, serial first\ndisk 0: written and verified\n"
        "disk 1: 1 sectors, serial second\ndisk 1: written and verified\n"
        "disk 2: 8 sectors, serial twenty-bytes-exactly\ndisk 2: read-only\n"
        "block: ok, 3 disks\n");
  // The second 64-bit word of the pattern: its offset times an odd number.
  CHECK(first.content().substr(8, 8) == std::string("\xa8\xe0\x53\xfa\xcb\xcd\xbb\xf1", 8));
  CHECK(third.content() == std::string(4096, '\0'));
}

TEST_CASE(
    "payload: [case 66] a block device that loses its end fails those requests, and the guest goes on") {
  const TemporaryFile file(std::uintmax_t{1} << 20);
  const LoopDevice loop(file.path());
  Payload payload("cut");
  payload.config.disks = {
      {.path = loop.path(), .direct = true}};  // the host's cache has what was read before
  Vm vm = payload.create();
  std::string output;
  std::thread host([&] {
    payload.console.read_until(output, "whole\n");
    std::filesystem::resize_file(file.path(), 4096);
  });
  CHECK(vm.run().end == End::kPowerOff);
  host.join();
  CHECK(output + payload.console.text() == "whole\ncut\n");
}

TEST_CASE("payload: a disk that the embedding program serves, at once or on another thread") {
  MemoryDisk first(1 << 20), second(4096);
  first.answers_later = GENERATE(false, true);
  Payload payload("block");
  payload.config.disks = {{.path = "first", .disk = &first},
                          {.path = "second", .read_only = true, .disk = &second}};
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("disk 0: written and verified\n"));
  CHECK_THAT(payload.output, Contains("disk 1: read-only\n"));
  CHECK(first.content.substr(8, 8) == std::string("\xa8\xe0\x53\xfa\xcb\xcd\xbb\xf1", 8));
}

TEST_CASE("payload: a VM that is stopped waits for what the embedding program's disk has") {
  MemoryDisk disk(1 << 20);
  disk.answers_later = true;
  Payload payload("block_speed");
  payload.config.disks = {{.path = "memory", .queues = 2, .disk = &disk}};
  payload.config.default_cmdline = false;
  payload.config.cmdline = "depth=32 queues=2 ticks=30000000000 bytes=4096";
  Vm vm = payload.create();
  REQUIRE(vm.start());
  while (disk.requests < 1000 && !vm.wait_for(1ms)) continue;
  vm.stop();
  CHECK(vm.wait().end == End::kStopped);
  CHECK(disk.requests >= 1000);
}

TEST_CASE("payload: a console whose output is the embedding program's") {
  Payload payload("hello");
  std::string output;
  payload.config.console = {.kind = ConsoleConfig::Kind::kSink,
                            .sink = [&](std::string_view bytes) { output += bytes; }};
  Vm vm = payload.create();
  CHECK(vm.send_console_input("typed ahead") == 11);
  CHECK(vm.run().end == End::kPowerOff);
  CHECK(output == "hello from the guest\n");
}

TEST_CASE("payload: a disk that grows does so for a guest that runs") {
  MemoryDisk served(4096);
  const TemporaryFile image(8192);
  Payload payload("idle");
  payload.config.disks = {{.path = "served", .disk = &served}, {.path = image.path()}};
  Vm vm = payload.create();
  CHECK(vm.resize_disk(1).error().kind == ErrorKind::kBusy);  // there is nobody yet who could
  REQUIRE(vm.start());
  while (vm.state() == State::kCreated) std::this_thread::sleep_for(1ms);
  vm.pause();
  served.content.resize(8192);
  CHECK(vm.resize_disk(0) == 8192u);
  CHECK(vm.resize_disk(1) == 8192u);
  std::filesystem::resize_file(image.path(), 4096);
  CHECK(vm.resize_disk(1).error().kind == ErrorKind::kBusy);
  std::filesystem::resize_file(image.path(), 12288);
  CHECK(vm.resize_disk(1) == 12288u);
  CHECK(vm.resize_disk(2).error().kind == ErrorKind::kNoInput);
  CHECK_FALSE(vm.plug_in_net(0, true));
  vm.stop();
  vm.wait();
  CHECK(vm.resize_disk(1).error().kind == ErrorKind::kBusy);
}

TEST_CASE("payload: who comes to a console late, from before the start on, sees what was printed") {
  Payload payload("hello");
  payload.config.console = {
      .kind = ConsoleConfig::Kind::kSink, .sink = [](std::string_view) {}, .backlog = true};
  Vm vm = payload.create();
  std::array<int, 2> ends{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  REQUIRE(vm.attach_console(ends[1]));
  CHECK(vm.run().end == End::kPowerOff);
  std::string text(1000, '\0');
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(::recv(ends[0], text.data(), text.size(), 0), 0)));
  CHECK(text == "hello from the guest\n");
  CHECK(::recv(ends[0], text.data(), 1, 0) == 0);
  ::close(ends[0]);

  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  CHECK(vm.attach_console(ends[1]));  // whose end it was, at once
  CHECK(::recv(ends[0], text.data(), 1, 0) == 0);
  ::close(ends[0]);
  payload.config.console = {};
  Vm without = payload.create();
  CHECK_FALSE(without.attach_console(-1));
}

TEST_CASE("payload: input that no guest reads is taken as far as there is room") {
  Payload payload("idle");
  payload.config.console = {.kind = ConsoleConfig::Kind::kSink, .sink = [](std::string_view) {}};
  Vm vm = payload.create();
  const std::string much(1 << 20, 'x');
  const std::size_t taken = vm.send_console_input(much);
  CHECK(taken > 0);
  CHECK(taken < much.size());
  CHECK(vm.send_console_input(much) == 0);
}

// From now on this thread has nothing of its own.
bool refuse_unshare() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = std::size(filter), .filter = filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_CASE("payload: a VM with a share does not start where its umask would be the process's") {
  char directory[] = "/tmp/uvmm-share-XXXXXX";
  REQUIRE(::mkdtemp(directory));
  Payload payload("hello");
  payload.config.shares = {{.path = directory}};
  Vm vm = payload.create();
  Outcome outcome;
  bool refused = false;
  std::thread([&] {
    refused = refuse_unshare();
    outcome = vm.run();
  }).join();
  REQUIRE(refused);
  CHECK(outcome.end == End::kInternalError);
  CHECK(outcome.detail == "cannot serve the shares: unshare: Operation not permitted");
  CHECK(payload.console.text().empty());
  std::filesystem::remove(directory);
}

TEST_CASE("payload: a guest without a driver for sockets is no one to connect to") {
  Payload payload("idle");
  Vm without = payload.create();
  CHECK(without.connect_vsock(22).error().kind == ErrorKind::kUsage);
  payload.config.vsock = {.cid = 3};
  Vm vm = payload.create();
  CHECK(vm.connect_vsock(22).error().kind == ErrorKind::kUnavailable);
  REQUIRE(vm.start());
  while (vm.state() == State::kCreated) std::this_thread::sleep_for(1ms);
  const Result<int> connected = vm.connect_vsock(22);
  REQUIRE_FALSE(connected);
  CHECK_THAT(connected.error().message, Contains("the guest refuses"));
  vm.stop();
  vm.wait();
  CHECK_FALSE(vm.connect_vsock(22));
}

TEST_CASE("payload: with many requests in flight on several queues each has its own sectors") {
  const TemporaryFile file(1 << 20);
  Payload payload("block_speed");
  payload.config.disks = {{.path = file.path(), .queues = 4}};
  payload.config.default_cmdline = false;
  payload.config.cmdline = "depth=32 queues=4 verify=1 ticks=300000000 bytes=4096 write=1";
  SECTION("from the page cache") {}
  SECTION("direct") {
    payload.config.disks[0].direct = true;
  }
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("block_speed: ok"));

  // What was written says where; the rest gets it for the guest that reads.
  std::string content = file.content();
  std::uint64_t written = 0;
  for (std::uint64_t sector = 0; sector < content.size() / 512; ++sector) {
    std::uint64_t found = 0;
    std::memcpy(&found, &content[sector * 512], sizeof found);
    if (found != 0) CHECK(found == sector);
    written += found != 0;
    std::memcpy(&content[sector * 512], &sector, sizeof sector);
  }
  CHECK(written > 100);
  std::ofstream(file.path(), std::ios::binary) << content;
  payload.config.cmdline = "depth=32 queues=4 verify=1 ticks=300000000 bytes=4096";
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("block_speed: ok"));
}

TEST_CASE("payload: a guest runs in each kind of memory") {
  Payload payload("ram");
  SECTION("shared") {
    payload.config.memory.shared = true;
  }
  SECTION("prefault") {
    payload.config.memory.prefault = true;
  }
  SECTION("mergeable") {
    payload.config.memory.mergeable = true;
  }
  CHECK(payload.run().end == End::kPowerOff);
  CHECK_THAT(payload.output, Contains("ram: ok"));
}

TEST_CASE("payload: [case 136] a console that nobody reads stops no guest, and costs no memory") {
  const long mebibytes = std::getenv("UVMM_TEST_FULL") ? 32 : 1;  // into a pipe of 64 KiB
  Payload payload("flood");
  payload.config.cmdline = " mebibytes=" + std::to_string(mebibytes);
  const long before = peak_kibibytes();
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(peak_kibibytes() - before < 16 << 10);
}

TEST_CASE("payload: the console as a file") {
  const TemporaryFile file(0);
  Payload payload("hello");
  payload.config.console = {.kind = ConsoleConfig::Kind::kFile, .path = file.path()};
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(file.content() == "hello from the guest\n");
}

TEST_CASE("payload: [case 160] INIT and SIPI storms, and an APIC over a BAR, end nothing") {
  Payload payload("apic_storm");
  payload.config.cpus = 2;
  CHECK(payload.run().end == End::kPowerOff);
  CHECK(payload.output == "apic: ok\n");
}

TEST_CASE("payload: the console may be resized at any time, before run() and after it") {
  Payload payload("hello");
  Vm vm = payload.create();
  vm.resize_console(100, 30);
  CHECK(vm.run().end == End::kPowerOff);
  vm.resize_console(80, 25);
}

TEST_CASE("payload: configuration is read without exits") {
  Payload payload("pci_list");
  payload.run();
  // The list itself reads each of 32 places in the ECAM; those with a function are memory.
  CHECK(payload.exits.mmio_read < 100);
}

}  // namespace uvmm
