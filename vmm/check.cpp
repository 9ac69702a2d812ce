// SPDX-License-Identifier: Apache-2.0
// uvmm::check(): what a configuration can be faulted for without opening anything. Every complaint names the
// option as the command line has it, the value, and the reason. What only the host can tell (how many CPUs
// KVM has, how large an image is) is found out by Vm::create().
#include <arpa/inet.h>
#include <net/if.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <bit>
#include <climits>

#include <fmt/format.h>

#include <uvmm/uvmm.hpp>

#include "boot/smbios.h"
#include "devices/virtio/virtqueue.h"
#include "vmm/base/result.h"
#include "vmm/base/size_text.h"
#include "vmm/base/types.h"
#include "vmm/device_count.h"
#include "vmm/shares.h"

namespace uvmm {
namespace {

constexpr u32 kMostCpus = 4096;  // as many as KVM ever has on x86
constexpr u64 kLeastMemory = 64_MiB;
constexpr u64 kMostMemory = u64{64} << 40;  // a process has 128 TiB of addresses
constexpr u64 kHugePage = 2_MiB;
constexpr std::size_t kMostNameBytes = 64;
constexpr std::size_t kMostPathBytes = PATH_MAX - 1;
constexpr std::size_t kMostSocketPathBytes = sizeof(sockaddr_un::sun_path) - 1;
constexpr std::size_t kMostVsockPathBytes = kMostSocketPathBytes - sizeof("_4294967295") + 1;  // and any port
constexpr u32 kFirstCid = 3;  // virtio 1.2, 5.10.4: those below are reserved, and so is 2^32 - 1
constexpr u32 kNoCid = UINT32_MAX;
constexpr std::size_t kMostCmdlineBytes = 2047;  // COMMAND_LINE_SIZE of x86, less the final NUL
constexpr std::size_t kMostSerialBytes = 20;     // virtio 1.2, 5.2.6: VIRTIO_BLK_T_GET_ID
constexpr std::size_t kMostTagBytes = 36;        // virtio 1.2, 5.11.4
constexpr std::size_t kMostInitrds = 256;
constexpr std::size_t kMostCredentials = 255;  // SMBIOS type 11 counts its strings in a byte
constexpr u16 kMostQueues = 64;
constexpr u16 kLeastMtu = 68;          // virtio 1.2, 5.1.4.1
constexpr u16 kLeastQueueSize = 16;    // a frame of 64 KiB in pages has to fit
constexpr int kLeastFd = 3;            // those below are the standard streams
constexpr std::size_t kPciSlots = 31;  // of bus 0's 32 devices one is the host bridge

bool is_control(char byte) {
  const auto code = static_cast<unsigned char>(byte);
  return code < 0x20 || code == 0x7f;
}

bool is_printable(char byte) {
  return !is_control(byte) && static_cast<unsigned char>(byte) < 0x80;
}

// The length of the UTF-8 sequence that `text` starts with (Unicode 15, table 3-7), or 0.
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) -> u32 {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const u32 lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const u32 second = byte(1);
  if (lead == 0xe0 && second < 0xa0) return 0;  // overlong
  if (lead == 0xed && second > 0x9f) return 0;  // a surrogate
  if (lead == 0xf0 && second < 0x90) return 0;  // overlong
  if (lead == 0xf4 && second > 0x8f) return 0;  // beyond U+10FFFF
  return length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

// `text` fit for a message: it may be anything.
std::string shown(std::string_view text) {
  constexpr std::size_t kMost = 160;
  const bool utf8 = is_utf8(text);
  std::string safe;
  for (const char byte : text.substr(0, kMost)) {
    if (is_printable(byte) || (utf8 && !is_control(byte))) {
      safe += byte;
    } else {
      safe += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
  }
  return text.size() > kMost ? safe + "..." : safe;
}

template <typename... Args>
std::unexpected<Error> refuse(fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(
      Error{ErrorKind::kBadData, fmt::vformat(format, fmt::make_format_args(args...)), {}});
}

Result<void> check_path(std::string_view option, std::string_view path) {
  if (path.empty()) return refuse("{}: the path is empty", option);
  const std::string subject = fmt::format("{} {}", option, shown(path));
  if (path.size() > kMostPathBytes) return refuse("{}: longer than {} bytes", subject, kMostPathBytes);
  if (std::ranges::any_of(path, is_control)) return refuse("{}: has a control character in it", subject);
  if (!is_utf8(path)) return refuse("{}: is not UTF-8", subject);
  return {};
}

Result<void> check_name(const std::string& name) {
  const auto fits = [](char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '.' || byte == '_' || byte == '-';
  };
  if (name.size() > kMostNameBytes) {
    return refuse("--name {}: longer than {} bytes", shown(name), kMostNameBytes);
  }
  if (!std::ranges::all_of(name, fits)) {
    return with_hint(refuse("--name {}: has a character that no name may have", shown(name)),
                     "letters, digits, dots, dashes and underscores");
  }
  return {};
}

Result<void> check_boot(const Config& config) {
  if (config.kernel.empty()) {
    return with_hint(fail(ErrorKind::kUsage, "--kernel: there is no kernel to boot"),
                     "--kernel PATH, a bzImage or vmlinux ELF");
  }
  UVMM_CHECK(check_path("--kernel", config.kernel));
  if (config.initrds.size() > kMostInitrds) return refuse("--initrd: more than {}", kMostInitrds);
  for (const std::string& initrd : config.initrds) UVMM_CHECK(check_path("--initrd", initrd));

  const auto breaks_line = [](char byte) { return is_control(byte) && byte != '\t'; };
  if (std::ranges::any_of(config.cmdline, breaks_line)) {
    return refuse("--cmdline {}: has a control character in it", shown(config.cmdline));
  }
  if (config.cmdline.size() > kMostCmdlineBytes) {
    return refuse("--cmdline: {} bytes, but the kernel takes {} at most", config.cmdline.size(),
                  kMostCmdlineBytes);
  }
  return {};
}

Result<void> check_machine(const Config& config) {
  if (config.cpus < 1) return refuse("--cpus {}: at least 1 is needed", config.cpus);
  if (config.cpus > kMostCpus) return refuse("--cpus {}: {} at most", config.cpus, kMostCpus);

  const MemoryConfig& memory = config.memory;
  const std::string size = size_text(memory.bytes);
  if (memory.bytes < kLeastMemory) {
    auto refusal = refuse("--memory {}: at least {} is needed", size, size_text(kLeastMemory));
    // A number without a unit was most likely meant in MiB.
    const bool likely = memory.bytes >= kLeastMemory >> 20 && memory.bytes <= 1_MiB;
    return likely ? with_hint(std::move(refusal), fmt::format("did you mean {}M?", memory.bytes)) : refusal;
  }
  if (memory.bytes > kMostMemory) {
    return refuse("--memory {}: more than the {} that a VM can have", size, size_text(kMostMemory));
  }
  const u64 unit = memory.hugepages ? kHugePage : kPageSize;
  if (memory.bytes % unit != 0) return refuse("--memory {}: not a multiple of {}", size, size_text(unit));
  if (memory.mergeable && (memory.shared || memory.hugepages)) {
    return with_hint(refuse("--memory {}: only ordinary private memory is mergeable", size),
                     "leave out mergeable, or shared and hugepages");
  }
  return {};
}

Result<void> check_disk(const DiskConfig& disk) {
  UVMM_CHECK(check_path("--disk", disk.path));
  if (disk.serial.size() > kMostSerialBytes) {
    return refuse("--disk {}: serial: longer than {} bytes", shown(disk.path), kMostSerialBytes);
  }
  if (!std::ranges::all_of(disk.serial, is_printable)) {
    return refuse("--disk {}: serial: {} is not printable ASCII", shown(disk.path), shown(disk.serial));
  }
  if (disk.queues > kMostQueues) {
    return refuse("--disk {}: queues: {} at most, not {}", shown(disk.path), kMostQueues, disk.queues);
  }
  return {};
}

Result<void> check_disks(const Config& config) {
  const std::size_t others = count_devices_but_disks(config);
  if (others > kPciSlots)
    return refuse("--net, --share: {} devices, but there is room for {}", others, kPciSlots);
  if (config.disks.size() > kPciSlots - others) {
    return refuse("--disk: {} disks, but there is room for {}", config.disks.size(), kPciSlots - others);
  }
  const DiskConfig* root = nullptr;
  for (const DiskConfig& disk : config.disks) {
    UVMM_CHECK(check_disk(disk));
    if (disk.root && root) {
      return refuse("--disk {}: root: {} is the root already", shown(disk.path), shown(root->path));
    }
    if (disk.root) root = &disk;
    for (const DiskConfig* other = config.disks.data(); other != &disk; ++other) {
      const bool same = disk.disk ? other->disk == disk.disk : !other->disk && other->path == disk.path;
      if (!same || (other->read_only == true && disk.read_only == true)) continue;
      return with_hint(refuse("--disk {}: the same disk twice, and not read-only", shown(disk.path)),
                       "add `ro` to both");
    }
  }
  return {};
}

// How the command line names it.
std::string subject_of(const NetConfig& net) {
  switch (net.kind) {
    case NetConfig::Kind::kUser:
      return "--net user";
    case NetConfig::Kind::kTap:
      return fmt::format("--net tap={}", shown(net.tap));
    case NetConfig::Kind::kFds:
      return fmt::format("--net fd={}", fmt::join(net.fds, ":"));
    case NetConfig::Kind::kSocket:
      return fmt::format("--net socket={}", fmt::join(net.fds, ":"));
  }
  return "--net";
}

Result<void> check_tap(const std::string& subject, std::string_view name) {
  if (name.empty()) return refuse("{}: the name is empty", subject);
  if (name.size() >= IFNAMSIZ)
    return refuse("{}: longer than the {} bytes of an interface's name", subject, IFNAMSIZ - 1);
  const auto fits = [](char byte) { return is_printable(byte) && byte != ' ' && byte != '/' && byte != ':'; };
  // A percent sign would make the kernel choose a name.
  if (!std::ranges::all_of(name, fits) || name == "." || name == ".." || name.find('%') != name.npos)
    return refuse("{}: is not the name of an interface", subject);
  return {};
}

Result<void> check_fds(const std::string& subject, const NetConfig& net) {
  if (net.fds.empty()) return refuse("{}: there is no descriptor", subject);
  for (const int fd : net.fds) {
    if (fd < kLeastFd) return refuse("{}: {} is a standard stream", subject, fd);
    if (std::ranges::count(net.fds, fd) > 1) return refuse("{}: {} is there twice", subject, fd);
  }
  if (net.queues != 0 && net.queues != net.fds.size())
    return refuse("{}: queues: {}, but there are {} descriptors", subject, net.queues, net.fds.size());
  return {};
}

bool is_ip_address(const std::string& text) {
  std::array<u8, sizeof(in6_addr)> address{};
  return ::inet_pton(AF_INET, text.c_str(), address.data()) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), address.data()) == 1;
}

Result<void> check_forward(const std::string& subject, const NetForward& forward) {
  for (const std::string* address : {&forward.host_address, &forward.guest_address}) {
    if (address->empty() || is_ip_address(*address)) continue;
    return refuse("{}: forward: {} is not an IP address", subject, shown(*address));
  }
  if (forward.host_port == 0 || forward.guest_port == 0)
    return refuse("{}: forward: 0 is not a port", subject);
  return {};
}

bool same_forward(const NetForward& one, const NetForward& other) {
  return one.protocol == other.protocol && one.host_port == other.host_port &&
         one.host_address == other.host_address;
}

Result<void> check_net(const NetConfig& net) {
  const std::string subject = subject_of(net);
  if (net.kind == NetConfig::Kind::kTap) UVMM_CHECK(check_tap(subject, net.tap));
  const bool has_fds = net.kind == NetConfig::Kind::kFds || net.kind == NetConfig::Kind::kSocket;
  if (has_fds) UVMM_CHECK(check_fds(subject, net));
  if (net.kind == NetConfig::Kind::kSocket && net.fds.size() > 1)
    return refuse("{}: one socket, not {}", subject, net.fds.size());
  if (net.kind != NetConfig::Kind::kUser && !net.forwards.empty())
    return refuse("{}: forward: only `user` has it", subject);
  if (net.kind == NetConfig::Kind::kUser && net.queues > 1)
    return refuse("{}: queues: 1 at most, not {}", subject, net.queues);
  for (const NetForward& forward : net.forwards) {
    UVMM_CHECK(check_forward(subject, forward));
    const auto is_same = [&](const NetForward& other) { return same_forward(forward, other); };
    if (std::ranges::count_if(net.forwards, is_same) > 1)
      return refuse("{}: forward: port {} is forwarded twice", subject, forward.host_port);
  }
  if (net.mac && ((*net.mac)[0] & 1)) return refuse("{}: mac: a group's address, not one device's", subject);
  if (net.mac && *net.mac == decltype(net.mac)::value_type{}) return refuse("{}: mac: is all zeros", subject);
  if (net.mtu != 0 && net.mtu < kLeastMtu)
    return refuse("{}: mtu: at least {}, not {}", subject, kLeastMtu, net.mtu);
  if (net.queue_size < kLeastQueueSize || net.queue_size > kMaxQueueSize ||
      !std::has_single_bit(net.queue_size))
    return refuse("{}: queue-size: a power of two from {} to {}, not {}", subject, kLeastQueueSize,
                  kMaxQueueSize, net.queue_size);
  const std::size_t queues = std::max<std::size_t>(net.queues, net.fds.size());
  if (queues > kMostQueues) return refuse("{}: queues: {} at most, not {}", subject, kMostQueues, queues);
  return {};
}

Result<void> check_nets(const Config& config) {
  using Kind = NetConfig::Kind;
  for (const NetConfig& net : config.nets) {
    UVMM_CHECK(check_net(net));
    for (const NetConfig* other = config.nets.data(); other != &net; ++other) {
      if (net.mac && other->mac == net.mac)
        return refuse("{}: mac: {} has it already", subject_of(net), subject_of(*other).substr(2));
      if (net.kind == Kind::kTap && other->kind == Kind::kTap && other->tap == net.tap)
        return refuse("{}: the same tap twice", subject_of(net));
      const auto taken = [&](int fd) { return std::ranges::count(other->fds, fd) > 0; };
      if (std::ranges::any_of(net.fds, taken))
        return refuse("{}: a descriptor of {}", subject_of(net), subject_of(*other).substr(2));
    }
  }
  return {};
}

Result<void> check_identity(const Config& config) {
  if (!config.uuid.empty() && !parse_uuid(config.uuid)) {
    return with_hint(refuse("--uuid {}: is no UUID", shown(config.uuid)),
                     "such as 01234567-89ab-cdef-0123-456789abcdef");
  }
  if (config.credentials.size() > kMostCredentials)
    return refuse("--credential: more than {}", kMostCredentials);
  for (const CredentialConfig& credential : config.credentials) {
    const std::string& id = credential.id;
    // What systemd takes for the name of a credential.
    const bool is_name = !id.empty() && id.size() <= NAME_MAX && id != "." && id != ".." &&
                         std::ranges::all_of(id, is_printable) && id.find_first_of("/=: ") == id.npos;
    if (!is_name) return refuse("--credential {}: is no name of a credential", shown(id));
    UVMM_CHECK(check_path("--credential " + id, credential.path));
    for (const CredentialConfig* other = config.credentials.data(); other != &credential; ++other) {
      if (other->id == id) return refuse("--credential {}: given twice", shown(id));
    }
  }
  return {};
}

Result<void> check_share(const ShareConfig& share) {
  UVMM_CHECK(check_path("--share", share.path));
  const std::string tag = share_tag(share);
  const std::string subject = fmt::format("--share {}: tag", shown(share.path));
  const auto fits = [](char byte) { return is_printable(byte) && byte != '/' && byte != ',' && byte != ' '; };
  if (tag.empty() || tag == "." || tag == ".." || !std::ranges::all_of(tag, fits)) {
    return with_hint(refuse("{}: {} is none", subject, shown(tag)),
                     "tag=NAME, printable ASCII without spaces, slashes and commas");
  }
  if (tag.size() > kMostTagBytes) {
    return with_hint(refuse("{}: {} is longer than {} bytes", subject, shown(tag), kMostTagBytes),
                     "tag=NAME");
  }
  constexpr std::uint32_t kNobody = ~std::uint32_t{0};
  if (share.uid == kNobody || share.gid == kNobody) {
    return refuse("--share {}: {} is no id", shown(share.path), kNobody);
  }
  if (share.writeback && share.cache == ShareConfig::Cache::kNever) {
    return refuse("--share {}: writeback: there is no cache to write back", shown(share.path));
  }
  return {};
}

Result<void> check_shares(const Config& config) {
  for (const ShareConfig& share : config.shares) {
    UVMM_CHECK(check_share(share));
    for (const ShareConfig* other = config.shares.data(); other != &share; ++other) {
      if (share_tag(*other) != share_tag(share)) continue;
      return with_hint(refuse("--share {}: tag: {} is that of {} already", shown(share.path),
                              shown(share_tag(share)), shown(other->path)),
                       "tag=NAME");
    }
  }
  return {};
}

Result<void> check_console(const ConsoleConfig& console) {
  switch (console.kind) {
    case ConsoleConfig::Kind::kOff:
      return {};
    case ConsoleConfig::Kind::kStreams:
      if (console.escape && console.input_fd < 0) return refuse("--console: an escape needs an input");
      return {};
    case ConsoleConfig::Kind::kFile:
      return check_path("--console file", console.path);
    case ConsoleConfig::Kind::kUnix:
      UVMM_CHECK(check_path("--console unix", console.path));
      if (console.path.size() <= kMostSocketPathBytes) return {};
      return refuse("--console unix {}: longer than the {} bytes of a socket's path", shown(console.path),
                    kMostSocketPathBytes);
    case ConsoleConfig::Kind::kSink:
      if (!console.sink) return refuse("--console: there is no sink");
      return {};
  }
  return refuse("--console: no such kind");
}

Result<void> check_balloon(const Config& config) {
  if (!config.balloon.enabled || config.balloon.bytes < config.memory.bytes) return {};
  return refuse("--balloon {}: would take all of the memory", size_text(config.balloon.bytes));
}

Result<void> check_vsock(const VsockConfig& vsock) {
  if (vsock.cid < kFirstCid || vsock.cid == kNoCid) {
    return with_hint(refuse("--vsock {}: a CID that no guest can have", vsock.cid), "3, or any number above");
  }
  const std::string subject = fmt::format("--vsock {}: path", vsock.cid);
  for (const VsockListener& listener : vsock.listeners) {
    if (!listener.connected) return refuse("--vsock {}: nobody listens at port {}", vsock.cid, listener.port);
    if (std::ranges::count(vsock.listeners, listener.port, &VsockListener::port) > 1)
      return refuse("--vsock {}: two listen at port {}", vsock.cid, listener.port);
  }
  if (vsock.path.empty()) return {};
  UVMM_CHECK(check_path(subject, vsock.path));
  if (vsock.path.size() <= kMostVsockPathBytes) return {};
  return refuse("{} {}: longer than the {} bytes of a socket's path less a port", subject, shown(vsock.path),
                kMostVsockPathBytes);
}

}  // namespace

Result<void> check(const Config& config) {
  UVMM_CHECK(check_name(config.name));
  UVMM_CHECK(check_boot(config));
  UVMM_CHECK(check_machine(config));
  UVMM_CHECK(check_disks(config));
  UVMM_CHECK(check_nets(config));
  UVMM_CHECK(check_identity(config));
  if (config.vsock) UVMM_CHECK(check_vsock(*config.vsock));
  UVMM_CHECK(check_shares(config));
  UVMM_CHECK(check_balloon(config));
  return check_console(config.console);
}

}  // namespace uvmm
