// SPDX-License-Identifier: Apache-2.0
#include <uvmm/uvmm.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

namespace {

uvmm_config good() {
  uvmm_config config;
  uvmm_config_init(&config, sizeof config);
  config.kernel = "bzImage";
  return config;
}

// What the check says, as "KIND: MESSAGE"; empty if nothing.
std::string complaint(const uvmm_config& config) {
  uvmm_error* error = nullptr;
  if (uvmm_config_check(&config, &error) == 0) return "";
  const std::string text =
      std::to_string(uvmm_error_get_kind(error)) + ": " + uvmm_error_message(error) + uvmm_error_hint(error);
  uvmm_error_free(error);
  return text;
}

}  // namespace

TEST_CASE("C: a configuration that was initialised needs but a kernel") {
  uvmm_config config = good();
  CHECK(complaint(config).empty());
  CHECK(config.cpus == 1);
  CHECK(config.memory_bytes == 512 << 20);
  CHECK(config.console_input_fd == -1);
  config.kernel = nullptr;
  CHECK(complaint(config).starts_with("64: --kernel: there is no kernel to boot"));
}

TEST_CASE("C: who does not want to know why need not") {
  uvmm_config config = good();
  config.cpus = 0;
  CHECK(uvmm_config_check(&config, nullptr) == -1);
  CHECK(uvmm_vm_create(&config, nullptr) == nullptr);
  uvmm_error_free(nullptr);
  uvmm_vm_destroy(nullptr);
  uvmm_statistics_free(nullptr);
}

TEST_CASE("C: a structure of an older caller is shorter, and one of a newer longer") {
  struct Newer {
    uvmm_config known;
    char more[64];
  } newer;
  uvmm_config_init(&newer.known, sizeof newer);
  CHECK(newer.known.size == sizeof newer);
  CHECK(std::string(newer.more, sizeof newer.more) == std::string(sizeof newer.more, '\0'));
  newer.known.kernel = "bzImage";
  CHECK(complaint(newer.known).empty());

  uvmm_config older;
  std::memset(&older, 0xee, sizeof older);
  constexpr std::size_t kOldSize = offsetof(uvmm_config, disks);
  uvmm_config_init(&older, kOldSize);
  older.kernel = "bzImage";
  CHECK(complaint(older).empty());
  CHECK(reinterpret_cast<const unsigned char*>(&older)[kOldSize] == 0xee);
}

TEST_CASE("C: arrays are walked by the size of their first element") {
  struct NewerDisk {
    uvmm_disk_config known;
    char more[24];
  } disks[2] = {};
  disks[0].known = {.size = sizeof(NewerDisk), .path = "first"};
  disks[1].known = {.size = sizeof(NewerDisk), .path = ""};
  uvmm_config config = good();
  config.disks = &disks[0].known;
  config.disk_count = 1;
  CHECK(complaint(config).empty());
  config.disk_count = 2;
  CHECK(complaint(config) == "65: --disk: the path is empty");
}

// The newest member of each structure begins where an older caller's ended, who need not have cleared the
// padding there.
TEST_CASE("C: a network of an older caller has queues as large as it had") {
  constexpr std::size_t kOldSize = offsetof(uvmm_net_config, queue_size);
  static_assert(kOldSize == 72, "what a C compiler made of it without queue_size");
  uvmm_net_config net = {.size = kOldSize, .kind = UVMM_NET_USER, .queue_size = 3};
  uvmm_config config = good();
  config.nets = &net;
  config.net_count = 1;
  CHECK(complaint(config).empty());
  net.size = sizeof net;
  CHECK(complaint(config).starts_with("65: --net user: queue-size: a power of two"));
  net.queue_size = 65536 + 256;
  CHECK(complaint(config).starts_with("65: --net user: queue-size: a power of two"));
  net.queue_size = 1024;
  CHECK(complaint(config).empty());
  net.queue_size = 0;
  CHECK(complaint(config).empty());
}

TEST_CASE("C: what was added to a configuration is not looked for in an older one") {
  constexpr std::size_t kOldSize = offsetof(uvmm_config, before_first_run);
  uvmm_config config;
  std::memset(&config, 0xee, sizeof config);
  uvmm_config_init(&config, kOldSize);
  config.kernel = "bzImage";
  CHECK(complaint(config).empty());
  CHECK(reinterpret_cast<const unsigned char*>(&config)[kOldSize] == 0xee);
}

TEST_CASE("C: a structure whose size was forgotten is refused") {
  uvmm_config config = good();
  const uvmm_net_config net = {};
  const uvmm_net_forward forward = {};
  const uvmm_net_config net_with_forward = {.size = sizeof net, .forwards = &forward, .forward_count = 1};
  const uvmm_disk memory = {};
  const uvmm_disk_config disks[] = {{}, {.size = sizeof *disks, .path = "memory", .disk = &memory}};
  const uvmm_share_config share = {};
  const uvmm_credential credential = {};
  const uvmm_vsock_listener listener = {};
  std::string which;
  SECTION("nets") {
    config.nets = &net;
    config.net_count = 1;
    which = "uvmm_net_config";
  }
  SECTION("forwards") {
    config.nets = &net_with_forward;
    config.net_count = 1;
    which = "uvmm_net_forward";
  }
  SECTION("disks") {
    config.disks = &disks[0];
    config.disk_count = 1;
    which = "uvmm_disk_config";
  }
  SECTION("what serves one") {
    config.disks = &disks[1];
    config.disk_count = 1;
    which = "uvmm_disk";
  }
  SECTION("shares") {
    config.shares = &share;
    config.share_count = 1;
    which = "uvmm_share_config";
  }
  SECTION("credentials") {
    config.credentials = &credential;
    config.credential_count = 1;
    which = "uvmm_credential";
  }
  SECTION("listeners") {
    config.vsock_cid = 3;
    config.vsock_listeners = &listener;
    config.vsock_listener_count = 1;
    which = "uvmm_vsock_listener";
  }
  CHECK(complaint(config) == "64: " + which + ": its size is not set`.size = sizeof(" + which + ")`");
}

TEST_CASE("C: what nobody serves is refused") {
  uvmm_config config = good();
  const uvmm_disk memory = {.size = sizeof memory, .bytes = 512};
  const uvmm_disk_config disk = {.size = sizeof disk, .path = "memory", .disk = &memory};
  const uvmm_vsock_listener listener = {.size = sizeof listener, .port = 5};
  SECTION("a disk") {
    config.disks = &disk;
    config.disk_count = 1;
    CHECK(complaint(config) == "65: --disk memory: nobody serves it");
    CHECK(uvmm_vm_create(&config, nullptr) == nullptr);
  }
  SECTION("a port") {
    config.vsock_cid = 3;
    config.vsock_listeners = &listener;
    config.vsock_listener_count = 1;
    CHECK(complaint(config) == "65: --vsock 3: nobody listens at port 5");
  }
}

TEST_CASE("C: each part of a configuration reaches the check") {
  uvmm_config config = good();
  SECTION("networks") {
    const int fds[] = {7, 8};
    const uvmm_net_config net = {.size = sizeof net, .kind = UVMM_NET_SOCKET, .fds = fds, .fd_count = 2};
    config.nets = &net;
    config.net_count = 1;
    CHECK(complaint(config) == "65: --net socket=7:8: one socket, not 2");
  }
  SECTION("forwards") {
    const uvmm_net_forward forward = {
        .size = sizeof forward, .host_address = "nowhere", .host_port = 1, .guest_port = 2};
    const uvmm_net_config net = {.size = sizeof net, .forwards = &forward, .forward_count = 1};
    config.nets = &net;
    config.net_count = 1;
    CHECK(complaint(config) == "65: --net user: forward: nowhere is not an IP address");
  }
  SECTION("shares") {
    const uvmm_share_config share = {.size = sizeof share, .path = "/a", .tag = "a b", .uid = -1, .gid = -1};
    config.shares = &share;
    config.share_count = 1;
    CHECK(complaint(config).starts_with("65: --share /a: tag: a b is none"));
  }
  SECTION("console") {
    config.console = UVMM_CONSOLE_SINK;
    CHECK(complaint(config) == "65: --console: there is no sink");
    config.console_output = [](void*, const void*, size_t) {};
    CHECK(complaint(config).empty());
  }
  SECTION("vsock") {
    const uvmm_vsock_listener listeners[] = {
        {.size = sizeof listeners[0], .port = 5, .connected = [](void*, int) {}},
        {.size = sizeof listeners[0], .port = 5, .connected = [](void*, int) {}}};
    config.vsock_cid = 3;
    config.vsock_listeners = listeners;
    config.vsock_listener_count = 2;
    CHECK(complaint(config) == "65: --vsock 3: two listen at port 5");
  }
  SECTION("credentials") {
    const uvmm_credential credential = {.size = sizeof credential, .id = "a/b", .path = "/a"};
    config.credentials = &credential;
    config.credential_count = 1;
    CHECK(complaint(config) == "65: --credential a/b: is no name of a credential");
  }
}

TEST_CASE("C: the library says its version") {
  CHECK(std::string(uvmm_version()).find('.') != std::string::npos);
}
