// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include <string>

#include <uvmm/disk.hpp>
#include <uvmm/uvmm.hpp>

using namespace uvmm;

namespace {

Config good() {
  Config config;
  config.kernel = "bzImage";
  return config;
}

std::string complaint(const Config& config) {
  const Result<void> checked = check(config);
  return checked ? "" : checked.error().message;
}

Config with_memory(std::uint64_t bytes) {
  Config config = good();
  config.memory.bytes = bytes;
  return config;
}

std::string complaint_about(NetConfig net) {
  Config config = good();
  config.nets = {std::move(net)};
  return complaint(config);
}

std::string complaint_about(NetConfig one, NetConfig other) {
  Config config = good();
  config.nets = {std::move(one), std::move(other)};
  return complaint(config);
}

constexpr NetConfig::Kind kTap = NetConfig::Kind::kTap;
constexpr NetConfig::Kind kFds = NetConfig::Kind::kFds;
constexpr std::array<std::uint8_t, 6> kMac = {0x52, 0x54, 0, 1, 2, 3};

Config with_disk(DiskConfig disk) {
  Config config = good();
  config.disks = {std::move(disk)};
  return config;
}

}  // namespace

TEST_CASE("check: the defaults and a kernel are enough") {
  CHECK(complaint(good()).empty());
}

TEST_CASE("check: without a kernel there is nothing to boot") {
  const Result<void> checked = check(Config{});
  REQUIRE_FALSE(checked);
  CHECK(checked.error().message == "--kernel: there is no kernel to boot");
}

TEST_CASE("[case 161] check: memory") {
  CHECK(complaint(with_memory(0)) == "--memory 0: at least 64M is needed");
  CHECK(complaint(with_memory((64u << 20) - 4096)) == "--memory 65532K: at least 64M is needed");
  CHECK(complaint(with_memory(64u << 20)).empty());
  CHECK(complaint(with_memory(16ull << 30)).empty());
  CHECK(complaint(with_memory((64ull << 40) + 4096)).find("more than the 64T") != std::string::npos);
  CHECK(complaint(with_memory(~std::uint64_t{0})).find("more than the 64T") != std::string::npos);
  CHECK(complaint(with_memory((64u << 20) + 1)).find("not a multiple of 4K") != std::string::npos);
  CHECK(check(with_memory(512)).error().hint == "did you mean 512M?");
}

TEST_CASE("check: kinds of memory that exclude each other") {
  Config config = with_memory(65u << 20);
  config.memory.hugepages = true;
  CHECK(complaint(config) == "--memory 65M: not a multiple of 2M");
  config.memory.bytes = 64u << 20;
  CHECK(complaint(config).empty());
  config.memory.mergeable = true;
  CHECK(complaint(config) == "--memory 64M: only ordinary private memory is mergeable");
}

TEST_CASE("[case 161] check: CPUs") {
  Config config = good();
  config.cpus = 0;
  CHECK(complaint(config) == "--cpus 0: at least 1 is needed");
  config.cpus = 4097;
  CHECK(complaint(config) == "--cpus 4097: 4096 at most");
  config.cpus = 64;
  CHECK(complaint(config).empty());
}

TEST_CASE("[case 156] check: a kernel command line is one line, and not too long") {
  Config config = good();
  config.cmdline = std::string("a\0b", 3);
  CHECK(complaint(config) == "--cmdline a\\x00b: has a control character in it");
  config.cmdline = "a\nb";
  CHECK(complaint(config) == "--cmdline a\\x0ab: has a control character in it");
  config.cmdline = "a\tb";
  CHECK(complaint(config).empty());
  config.cmdline.assign(2047, 'a');
  CHECK(complaint(config).empty());
  config.cmdline.assign(2048, 'a');
  CHECK(complaint(config) == "--cmdline: 2048 bytes, but the kernel takes 2047 at most");
}

TEST_CASE("[case 164] check: paths with a newline, NUL or broken UTF-8, and paths too long") {
  CHECK(complaint(with_disk({.path = "a\nb"})) == "--disk a\\x0ab: has a control character in it");
  CHECK(complaint(with_disk({.path = std::string("a\0", 2)})) ==
        "--disk a\\x00: has a control character in it");
  CHECK(complaint(with_disk({.path = "a,b"})).empty());
  CHECK(complaint(with_disk({.path = ""})) == "--disk: the path is empty");
  CHECK(complaint(with_disk({.path = "caf\xc3\xa9"})).empty());
  for (const char* const broken : {"\xff", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
                                   "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\x80", "\xe2\x82"}) {
    CHECK(complaint(with_disk({.path = broken})).find("is not UTF-8") != std::string::npos);
  }
  CHECK(complaint(with_disk({.path = std::string(4095, 'a')})).empty());
  const std::string too_long = complaint(with_disk({.path = std::string(1 << 20, 'a')}));
  CHECK(too_long.find("longer than 4095 bytes") != std::string::npos);
  CHECK(too_long.size() < 300);
  Config config = good();
  config.kernel = "k\n";
  CHECK_FALSE(check(config));
  config = good();
  config.initrds = {"ok", "i\r"};
  CHECK(complaint(config) == "--initrd i\\x0d: has a control character in it");
}

TEST_CASE("check: a serial is up to 20 printable ASCII characters") {
  CHECK(complaint(with_disk({.path = "a", .serial = "01234567890123456789"})).empty());
  CHECK(complaint(with_disk({.path = "a", .serial = "012345678901234567890"})) ==
        "--disk a: serial: longer than 20 bytes");
  CHECK(complaint(with_disk({.path = "a", .serial = "x\ty"})) ==
        "--disk a: serial: x\\x09y is not printable ASCII");
  CHECK_FALSE(complaint(with_disk({.path = "a", .serial = "\xc3\xa9"})).empty());
}

TEST_CASE("check: queues") {
  CHECK(complaint(with_disk({.path = "a", .queues = 64})).empty());
  CHECK(complaint(with_disk({.path = "a", .queues = 65})) == "--disk a: queues: 64 at most, not 65");
}

TEST_CASE("check: as many disks as bus 0 has room for") {
  Config config = good();
  config.console.kind = ConsoleConfig::Kind::kStreams;
  for (int i = 0; i < 27; ++i) config.disks.push_back({.path = std::to_string(i)});
  CHECK(complaint(config).empty());
  config.disks.push_back({.path = "one more"});
  CHECK(complaint(config) == "--disk: 28 disks, but there is room for 27");
  config.rng = false;
  CHECK(complaint(config).empty());
}

TEST_CASE("check: a UUID, and credentials with names of their own") {
  Config config = good();
  config.uuid = "01234567-89ab-cdef-0123-456789abcdef";
  config.credentials = {{.id = "a", .path = "f"}, {.id = "b.c", .path = "f"}};
  CHECK(complaint(config).empty());
  config.credentials[1].id = "a";
  CHECK(complaint(config) == "--credential a: given twice");
  for (const char* const id : {"", ".", "..", "a/b", "a:b", "a=b", "a b", "\xc3\xa9"}) {
    CAPTURE(id);
    config.credentials[1].id = id;
    CHECK_FALSE(complaint(config).empty());
  }
  config.credentials.clear();
  config.uuid = "1";
  CHECK(complaint(config) == "--uuid 1: is no UUID");
}

TEST_CASE("check: one root disk") {
  Config config = good();
  config.disks = {{.path = "a", .root = true}, {.path = "b", .root = true}};
  CHECK(complaint(config) == "--disk b: root: a is the root already");
}

TEST_CASE("[case 162] check: the same disk twice, unless both are read-only") {
  Config config = good();
  config.disks = {{.path = "a"}, {.path = "a"}};
  CHECK(complaint(config) == "--disk a: the same disk twice, and not read-only");
  config.disks[0].read_only = true;
  CHECK_FALSE(check(config));
  config.disks[1].read_only = true;
  CHECK(complaint(config).empty());
}

TEST_CASE("[case 164] check: the name of a tap") {
  CHECK(complaint_about({.kind = kTap, .tap = "tap0"}).empty());
  CHECK(complaint_about({.kind = kTap, .tap = "fifteen-letters"}).empty());
  CHECK(complaint_about({.kind = kTap, .tap = "sixteen--letters"}) ==
        "--net tap=sixteen--letters: longer than the 15 bytes of an interface's name");
  CHECK(complaint_about({.kind = kTap, .tap = ""}) == "--net tap=: the name is empty");
  for (const char* const name : {"a/b", "a b", "a\n", "a:1", ".", "..", "tap%d", "caf\xc3\xa9"}) {
    CAPTURE(name);
    CHECK(complaint_about({.kind = kTap, .tap = name}).find("is not the name of an interface") !=
          std::string::npos);
  }
}

TEST_CASE("[case 168] check: descriptors of network devices are no standard streams") {
  CHECK(complaint_about({.kind = kFds, .fds = {3, 4}}).empty());
  CHECK(complaint_about({.kind = kFds, .fds = {3, 2}}) == "--net fd=3:2: 2 is a standard stream");
  CHECK(complaint_about({.kind = kFds, .fds = {-1}}) == "--net fd=-1: -1 is a standard stream");
}

TEST_CASE("check: as many descriptors as queue pairs") {
  CHECK(complaint_about({.kind = kFds, .fds = {3, 4}, .queues = 2}).empty());
  CHECK(complaint_about({.kind = kFds, .fds = {3, 4}, .queues = 3}) ==
        "--net fd=3:4: queues: 3, but there are 2 descriptors");
  CHECK(complaint_about({.kind = kTap, .tap = "t", .queues = 65}) ==
        "--net tap=t: queues: 64 at most, not 65");
  CHECK(complaint_about({.queues = 2}) == "--net user: queues: 1 at most, not 2");
}

TEST_CASE("[case 162] check: network devices that share what they cannot") {
  CHECK(complaint_about({.kind = kTap, .tap = "t"}, {.kind = kTap, .tap = "t"}) ==
        "--net tap=t: the same tap twice");
  CHECK(complaint_about({.kind = kTap, .tap = "t"}, {.kind = kTap, .tap = "u"}).empty());
  CHECK(complaint_about({.kind = kFds, .fds = {3, 4}}, {.kind = kFds, .fds = {5, 3}}) ==
        "--net fd=5:3: a descriptor of net fd=3:4");
  CHECK(complaint_about({.kind = kFds, .fds = {3, 3}}) == "--net fd=3:3: 3 is there twice");
  CHECK(complaint_about({.mac = kMac}, {.kind = kTap, .tap = "t", .mac = kMac}) ==
        "--net tap=t: mac: net user has it already");
  CHECK(complaint_about({}, {}).empty());
}

TEST_CASE("check: an address and an MTU that a device can have") {
  CHECK(complaint_about({.mac = kMac, .mtu = 68}).empty());
  CHECK(complaint_about({.mtu = 67}) == "--net user: mtu: at least 68, not 67");
  CHECK(complaint_about({.queue_size = 1024}).empty());
  for (const std::uint16_t size : {0, 8, 48, 2048}) {
    CHECK(complaint_about({.queue_size = size}) ==
          fmt::format("--net user: queue-size: a power of two from 16 to 1024, not {}", size));
  }
  CHECK(complaint_about({.mac = {{1, 2, 3, 4, 5, 6}}}) ==
        "--net user: mac: a group's address, not one device's");
  CHECK(complaint_about({.mac = {{0, 0, 0, 0, 0, 0}}}) == "--net user: mac: is all zeros");
}

TEST_CASE("check: forwards") {
  CHECK(complaint_about(
            {.forwards =
                 {{.host_address = "::1", .host_port = 1, .guest_address = "10.0.2.15", .guest_port = 2}}})
            .empty());
  CHECK(complaint_about({.forwards = {{.host_address = "localhost", .host_port = 1, .guest_port = 2}}}) ==
        "--net user: forward: localhost is not an IP address");
  CHECK(complaint_about({.forwards = {{.host_port = 1}}}) == "--net user: forward: 0 is not a port");
  CHECK(
      complaint_about({.forwards = {{.host_port = 1, .guest_port = 2}, {.host_port = 1, .guest_port = 3}}}) ==
      "--net user: forward: port 1 is forwarded twice");
  CHECK(complaint_about({.kind = kTap, .tap = "t", .forwards = {{.host_port = 1, .guest_port = 2}}}) ==
        "--net tap=t: forward: only `user` has it");
}

TEST_CASE("check: a balloon of less than the memory") {
  Config config = good();
  config.balloon.bytes = config.memory.bytes - 4096;
  CHECK(complaint(config).empty());
  config.balloon.bytes = config.memory.bytes;
  CHECK(complaint(config) == "--balloon 512M: would take all of the memory");
  config.balloon.enabled = false;
  CHECK(complaint(config).empty());
}

TEST_CASE("check: network devices take room on the bus, too") {
  Config config = good();
  config.power_button = config.balloon.enabled = false;
  config.nets.resize(30);
  CHECK(complaint(config).empty());
  config.disks = {{.path = "a"}};
  CHECK(complaint(config) == "--disk: 1 disks, but there is room for 0");
  config.nets.resize(31);
  CHECK(complaint(config) == "--net, --share: 32 devices, but there is room for 31");
}

TEST_CASE("[case 162] check: a share's tag fits what the device says it by, and is one of its kind") {
  const auto with_tag = [](std::string tag, std::string path = "/srv/data") {
    Config config = good();
    config.shares = {{.path = std::move(path), .tag = std::move(tag)}};
    return config;
  };
  CHECK(complaint(with_tag("")).empty());
  CHECK(complaint(with_tag(std::string(36, 't'))).empty());
  CHECK(complaint(with_tag(std::string(37, 't'))).find("longer than 36 bytes") != std::string::npos);
  CHECK(complaint(with_tag("", "/srv/" + std::string(37, 't'))).find("longer than 36 bytes") !=
        std::string::npos);
  for (const char* tag : {"..", ".", "a/b", "a b", "a,b", "a\n", "\xc3\xa4"})
    CHECK(complaint(with_tag(tag)).find("tag") != std::string::npos);
  CHECK(complaint(with_tag("", "/")).find("tag") != std::string::npos);
  CHECK(complaint(with_tag("", "..")).find("tag") != std::string::npos);
  CHECK(complaint(with_tag("", "/srv/data/")).empty());

  Config twice = with_tag("");
  twice.shares.push_back({.path = "/home/data"});
  CHECK(complaint(twice) == "--share /home/data: tag: data is that of /srv/data already");
  twice.shares[1].tag = "other";
  CHECK(complaint(twice).empty());
}

TEST_CASE("check: a share's ids are ids, and without a cache nothing is written back") {
  Config config = good();
  config.shares = {{.path = "data", .uid = ~std::uint32_t{0}}};
  CHECK(complaint(config) == "--share data: 4294967295 is no id");
  config.shares = {{.path = "data", .cache = ShareConfig::Cache::kNever, .writeback = true}};
  CHECK(complaint(config).find("writeback") != std::string::npos);
  config.shares = {{.path = ""}};
  CHECK(complaint(config) == "--share: the path is empty");
}

TEST_CASE("check: shares take up room that disks could have") {
  Config config = good();
  for (int i = 0; i < 32; ++i) config.shares.push_back({.path = "s" + std::to_string(i)});
  CHECK(complaint(config).find("--share") != std::string::npos);
  config.shares.resize(28);
  CHECK(complaint(config).empty());
}

TEST_CASE("check: a name is fit for a file name and a message") {
  Config config = good();
  config.name = "vm-1_a.B";
  CHECK(complaint(config).empty());
  for (const char* const name : {"a/b", "a b", "a\n", "caf\xc3\xa9"}) {
    config.name = name;
    CHECK(complaint(config).find("has a character that no name may have") != std::string::npos);
  }
  config.name.assign(65, 'a');
  CHECK(complaint(config).find("longer than 64 bytes") != std::string::npos);
}

TEST_CASE("[case 162] check: a CID that no guest can have") {
  Config config = good();
  config.vsock = {.cid = GENERATE(0u, 1u, 2u, 0xffffffffu), .path = "/s"};
  CHECK(complaint(config) == fmt::format("--vsock {}: a CID that no guest can have", config.vsock->cid));
  config.vsock->cid = GENERATE(3u, 0xfffffffeu);
  CHECK(complaint(config).empty());
}

TEST_CASE("check: a virtio socket's path has room for any port behind it") {
  Config config = good();
  config.vsock = {.cid = 3};
  config.vsock->path.assign(96, 'a');
  CHECK(complaint(config).empty());
  config.vsock->path.assign(97, 'a');
  CHECK(complaint(config).ends_with(": longer than the 96 bytes of a socket's path less a port"));
}

TEST_CASE("check: a port that the caller serves has one who does") {
  Config config = good();
  config.vsock = {.cid = 3};
  config.vsock->listeners = {{.port = 52, .connected = [](int) {}}, {.port = 53, .connected = [](int) {}}};
  CHECK(complaint(config).empty());
  config.vsock->listeners[1].port = 52;
  CHECK(complaint(config) == "--vsock 3: two listen at port 52");
  config.vsock->listeners = {{.port = 52}};
  CHECK(complaint(config) == "--vsock 3: nobody listens at port 52");
}

TEST_CASE("check: a network's socket is one") {
  Config config = good();
  config.nets = {{.kind = NetConfig::Kind::kSocket, .fds = {7}}};
  CHECK(complaint(config).empty());
  config.nets[0].fds = {7, 8};
  CHECK(complaint(config) == "--net socket=7:8: one socket, not 2");
  config.nets[0].fds = {};
  CHECK(complaint(config) == "--net socket=: there is no descriptor");
  config.nets[0].fds = {7};
  config.nets.push_back({.kind = NetConfig::Kind::kFds, .fds = {7}});
  CHECK(complaint(config) == "--net fd=7: a descriptor of net socket=7");
}

TEST_CASE("check: disks that the caller serves may have the same name, but are not the same twice") {
  struct Nothing final : Disk {
    std::uint64_t bytes() const override { return 512; }
    void submit(DiskRequest& request) override { request.complete(); }
  } first, second;
  Config config = good();
  config.disks = {{.path = "memory", .disk = &first}, {.path = "memory", .disk = &second}};
  CHECK(complaint(config).empty());
  config.disks[1].disk = &first;
  CHECK(complaint(config) == "--disk memory: the same disk twice, and not read-only");
}

TEST_CASE("check: a console's sink is there") {
  Config config = good();
  config.console.kind = ConsoleConfig::Kind::kSink;
  CHECK(complaint(config) == "--console: there is no sink");
  config.console.sink = [](std::string_view) {};
  CHECK(complaint(config).empty());
}

TEST_CASE("check: a console's path") {
  Config config = good();
  config.console.kind = ConsoleConfig::Kind::kUnix;
  CHECK(complaint(config) == "--console unix: the path is empty");
  config.console.path.assign(107, 'a');
  CHECK(complaint(config).empty());
  config.console.path.assign(108, 'a');
  CHECK(complaint(config).find("longer than the 107 bytes of a socket's path") != std::string::npos);
  config.console.kind = ConsoleConfig::Kind::kFile;
  CHECK(complaint(config).empty());
  config.console.path = "a\n";
  CHECK_FALSE(check(config));
}

TEST_CASE("check: a console's escape needs an input") {
  Config config = good();
  config.console = {.kind = ConsoleConfig::Kind::kStreams, .output_fd = 1, .escape = true};
  CHECK_FALSE(check(config));
}
