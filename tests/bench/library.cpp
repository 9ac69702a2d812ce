// SPDX-License-Identifier: Apache-2.0
// library WHAT RUNS FILE: times parts of libuvmm in this process. Prints a line for each run: the variant's
// name and microseconds.
//
//   create PAYLOAD        "create": Vm::create to the first vCPU about to run, of a VM like that of start;
//   "destroy":
//                         from the end of its run on
//   many PAYLOAD          a hundred VMs at once, that idle, figures for each of them: "many-create" and
//   "many-destroy",
//                         and, not in microseconds, "many-kib" of resident memory and "many-threads"
//   kernel-load BZIMAGE   load_kernel() with an empty cache ("cold"), from the cache by copying ("copied"),
//                         by mapping ("mapped"); and to compare, one read() of as much ("read")
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <uvmm/uvmm.hpp>

#include "boot/kernel.h"
#include "vmm/base/fd.h"
#include "vmm/guest_ram.h"

namespace {

using namespace uvmm;

constexpr u64 kRamBytes = 128_MiB;

double now_us() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

[[noreturn]] void die(std::string_view what) {
  std::fprintf(stderr, "library: %.*s\n", static_cast<int>(what.size()), what.data());
  std::exit(1);
}

void report(const char* variant, double us) {
  std::printf("%s %.1f\n", variant, us);
}

void create(const std::string& payload, const std::filesystem::path& work) {
  Config config;
  config.kernel = payload;
  config.memory.bytes = kRamBytes;
  config.disks.push_back({.path = work / "disk"});
  config.console.kind = ConsoleConfig::Kind::kFile;
  config.console.path = work / "console";
  double ready_us = 0;
  Callbacks callbacks;
  callbacks.before_first_run = [&] { ready_us = now_us(); };

  const double start_us = now_us();
  double end_us = 0;
  {
    Result<Vm> vm = Vm::create(config, callbacks);
    if (!vm) die(vm.error().message);
    if (vm->run().end != End::kPowerOff) die("the guest did not power off");
    end_us = now_us();
  }
  report("destroy", now_us() - end_us);
  report("create", ready_us - start_us);
}

double resident_kib() {
  std::ifstream file("/proc/self/statm");
  u64 all = 0, resident = 0;
  file >> all >> resident;
  return static_cast<double>(resident * kPageSize) / 1024;
}

double thread_count() {
  const std::filesystem::directory_iterator threads("/proc/self/task");
  return static_cast<double>(std::distance(begin(threads), end(threads)));
}

void many(const std::string& payload) {
  constexpr int kVms = 100;
  Config config;
  config.kernel = payload;
  config.memory.bytes = kRamBytes;
  config.console.kind = ConsoleConfig::Kind::kSink;
  config.console.sink = [](std::string_view) {};

  std::vector<Vm> vms;
  vms.reserve(kVms);
  std::atomic<int> running = 0;
  Callbacks callbacks;
  callbacks.before_first_run = [&] { running.fetch_add(1); };
  const double kib = resident_kib();
  const double threads = thread_count();
  const double start_us = now_us();
  for (int i = 0; i < kVms; ++i) {
    Result<Vm> vm = Vm::create(config, callbacks);
    if (!vm) die(vm.error().message);
    vms.push_back(std::move(*vm));
    if (!vms.back().start()) die("cannot start a VM");
  }
  while (running.load() < kVms) ::usleep(100);
  report("many-create", (now_us() - start_us) / kVms);
  ::usleep(200'000);  // the guests run to where they idle
  report("many-kib", (resident_kib() - kib) / kVms);
  report("many-threads", (thread_count() - threads) / kVms);
  const double end_us = now_us();
  vms.clear();
  report("many-destroy", (now_us() - end_us) / kVms);
}

void load(const char* variant, const std::string& kernel, const std::string& cache, bool may_map) {
  Result<GuestRam> ram = GuestRam::create({.bytes = 512_MiB});
  if (!ram) die(ram.error().message);
  const GuestMemory memory = ram->memory();
  Log log({}, LogLevel::kError);
  const double start_us = now_us();
  const auto loaded =
      load_kernel({.path = kernel, .cache_directory = cache, .may_map = may_map}, memory, log);
  const double end_us = now_us();
  if (!loaded) die(loaded.error().message);
  report(variant, end_us - start_us);
}

// What the cache has of the kernel, read at once.
void read_at_once(const std::filesystem::path& cache) {
  for (const auto& entry : std::filesystem::directory_iterator(cache)) {
    if (entry.path().extension() != ".vmlinux") continue;
    const Fd file(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
    const auto bytes = entry.file_size();
    const Result<GuestRam> ram = GuestRam::create({.bytes = align_up(bytes, 2_MiB)});
    if (!ram) die(ram.error().message);
    const GuestMemory memory = ram->memory();
    u8* const target = memory.regions()[0].bytes.data();
    const double start_us = now_us();
    if (::read(file.get(), target, bytes) != static_cast<ssize_t>(bytes)) die("cannot read the cache");
    return report("read", now_us() - start_us);
  }
  die("the kernel is not in the cache");
}

void kernel_load(const std::string& kernel, const std::filesystem::path& work) {
  const std::filesystem::path cache = work / "cache";
  std::filesystem::remove_all(cache);
  load("cold", kernel, cache, true);
  load("copied", kernel, cache, false);
  load("mapped", kernel, cache, true);
  read_at_once(cache);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) die("usage: library create|many|kernel-load RUNS FILE");
  const std::string_view what = argv[1];
  const int runs = std::atoi(argv[2]);
  std::string directory = (std::filesystem::temp_directory_path() / "uvmm-bench.XXXXXX").string();
  if (!::mkdtemp(directory.data())) die("cannot create a temporary directory");
  const std::filesystem::path work = directory;
  const Fd disk(::open((work / "disk").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (::ftruncate(disk.get(), 16_MiB) != 0) die("cannot create a disk");
  for (int run = 0; run < runs; ++run) {
    if (what == "create") {
      create(argv[3], work);
    } else if (what == "many") {
      many(argv[3]);
    } else {
      kernel_load(argv[3], work);
    }
  }
  std::filesystem::remove_all(work);
}
