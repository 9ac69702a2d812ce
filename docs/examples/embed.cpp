// SPDX-License-Identifier: Apache-2.0
// embed KERNEL: runs a guest within this process. Its disk is 16 MiB of our own memory, its console comes to
// us as it is written, and we are told what happens.
#include <poll.h>

#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include <uvmm/disk.hpp>
#include <uvmm/uvmm.hpp>

class MemoryDisk final : public uvmm::Disk {
 public:
  std::uint64_t bytes() const override { return content_.size(); }

  void submit(uvmm::DiskRequest& request) override {
    char* at = content_.data() + request.offset;
    for (const iovec& buffer : request.buffers) {
      if (request.kind == uvmm::DiskRequest::Kind::kRead) {
        std::memcpy(buffer.iov_base, at, buffer.iov_len);
      } else {
        std::memcpy(at, buffer.iov_base, buffer.iov_len);
      }
      at += buffer.iov_len;
    }
    request.complete();
  }

 private:
  std::vector<char> content_ = std::vector<char>(16 << 20);
};

int main(int argc, char** argv) {
  if (argc != 2) return 2;

  MemoryDisk disk;
  uvmm::Config config;
  config.kernel = argv[1];
  config.memory.bytes = 128 << 20;
  config.disks.push_back({.path = "memory", .disk = &disk});
  config.console.kind = uvmm::ConsoleConfig::Kind::kSink;
  config.console.sink = [](std::string_view bytes) { std::fwrite(bytes.data(), 1, bytes.size(), stdout); };

  uvmm::Callbacks callbacks;
  callbacks.event = [](const uvmm::Event& event) {
    if (event.kind == uvmm::Event::Kind::kStarted) std::puts("the guest runs");
  };

  uvmm::Result<uvmm::Vm> vm = uvmm::Vm::create(config, callbacks);
  if (!vm) {
    std::fprintf(stderr, "error: %s\n  hint: %s\n", vm.error().message.c_str(), vm.error().hint.c_str());
    return 1;
  }

  // On a thread of its own, so that this one can wait for several VMs, or do something else.
  if (!vm->start()) return 1;
  pollfd end{.fd = vm->end_fd(), .events = POLLIN, .revents = 0};
  ::poll(&end, 1, -1);
  const uvmm::Outcome outcome = vm->wait();

  for (const uvmm::DeviceStatistics& device : vm->statistics().devices) {
    unsigned long long requests = 0;
    for (const uvmm::QueueStatistics& queue : device.queues) requests += queue.requests;
    std::printf("%s: %llu requests\n", device.name.c_str(), requests);
  }
  return outcome.end == uvmm::End::kPowerOff ? 0 : 1;
}
