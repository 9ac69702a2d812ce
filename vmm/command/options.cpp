// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/options.h"

#include <vector>

namespace uvmm::command {
namespace {

// The objects that options fill in.

template <typename Object, auto Find>
constexpr Place one() {
  return Place{
      .open = [](Settings& settings) -> void* { return &Find(settings); },
      .count = [](const Settings&) -> std::size_t { return 1; },
      .at = [](Settings& settings, std::size_t) -> void* { return &Find(settings); },
  };
}

template <auto Member>
constexpr Place list() {
  return Place{
      .open = [](Settings& settings) -> void* { return &(settings.config.*Member).emplace_back(); },
      .count = [](const Settings& settings) -> std::size_t { return (settings.config.*Member).size(); },
      .at = [](Settings& settings, std::size_t index) -> void* { return &(settings.config.*Member)[index]; },
      .list = true,
  };
}

template <auto Member>
constexpr Place optional() {
  return Place{
      .open = [](Settings& settings) -> void* {
        auto& object = settings.config.*Member;
        return object ? &*object : &object.emplace();
      },
      .count = [](const Settings& settings) -> std::size_t { return (settings.config.*Member).has_value(); },
      .at = [](Settings& settings, std::size_t) -> void* { return &*(settings.config.*Member); },
  };
}

constexpr Place kSettings = one<Settings, [](Settings& settings) -> auto& { return settings; }>();
constexpr Place kConfig = one<Config, [](Settings& settings) -> auto& { return settings.config; }>();
constexpr Place kMemory =
    one<MemoryConfig, [](Settings& settings) -> auto& { return settings.config.memory; }>();
constexpr Place kBalloonPlace =
    one<BalloonConfig, [](Settings& settings) -> auto& { return settings.config.balloon; }>();
constexpr Place kInitrds = list<&Config::initrds>();
constexpr Place kCredentials = list<&Config::credentials>();
constexpr Place kDisks = list<&Config::disks>();
constexpr Place kNets = list<&Config::nets>();
constexpr Place kVsockPlace = optional<&Config::vsock>();
constexpr Place kShares = list<&Config::shares>();

template <typename Kind, auto Member>
constexpr Field of_settings(std::string_view key, std::string_view value, std::string_view help = {}) {
  return field<Kind, Settings, Member>(key, value, help);
}
template <typename Kind, auto Member>
constexpr Field of_config(std::string_view key, std::string_view value, std::string_view help = {}) {
  return field<Kind, Config, Member>(key, value, help);
}
template <typename Kind, auto Member>
constexpr Field of_memory(std::string_view key, std::string_view value, std::string_view help) {
  return field<Kind, MemoryConfig, Member>(key, value, help);
}
template <typename Kind, auto Member>
constexpr Field of_disk(std::string_view key, std::string_view value, std::string_view help) {
  return field<Kind, DiskConfig, Member>(key, value, help);
}

template <typename Kind, auto Member>
constexpr Field of_net(std::string_view key, std::string_view value, std::string_view help) {
  return field<Kind, NetConfig, Member>(key, value, help);
}

template <typename Kind, auto Member>
constexpr Field of_share(std::string_view key, std::string_view value, std::string_view help) {
  return field<Kind, ShareConfig, Member>(key, value, help);
}

// Boot

constexpr Field kKernel[] = {of_config<Text, &Config::kernel>("kernel", "PATH")};
constexpr Field kInitrd[] = {field<Text, std::string, std::identity{}>("initrd", "PATH", {})};
constexpr Field kCmdline[] = {of_config<Text, &Config::cmdline>("cmdline", "TEXT")};
constexpr Field kDefaultCmdline[] = {of_config<Flag, &Config::default_cmdline>("default-cmdline", "")};
constexpr Field kCache[] = {of_config<Flag, &Config::kernel_cache>("cache", "")};

// Machine

constexpr Field kCpus[] = {of_config<Count, &Config::cpus>("cpus", "N")};
constexpr Field kMemoryFields[] = {
    of_memory<Size, &MemoryConfig::bytes>("size", "SIZE", "512M, 1G: powers of 1024"),
    of_memory<Flag, &MemoryConfig::hugepages>("hugepages", "", "from the reserved pool (hugetlbfs, 2 MiB)"),
    of_memory<Flag, &MemoryConfig::prefault>("prefault", "", "populate before the guest starts"),
    of_memory<Flag, &MemoryConfig::mergeable>("mergeable", "", "offer to kernel same-page merging"),
    of_memory<Flag, &MemoryConfig::shared>("shared", "", "memory that other processes could map"),
};

// Devices

constexpr Field kDisk[] = {
    of_disk<Text, &DiskConfig::path>("path", "PATH", "a raw image or a block device; nothing is guessed"),
    of_disk<FlagOrAuto, &DiskConfig::read_only>("ro", "",
                                                "read-only; by itself on erofs and squashfs images"),
    of_disk<Flag, &DiskConfig::root>("root", "", "the kernel command line names this disk as root="),
    of_disk<Text, &DiskConfig::serial>("serial", "TEXT", "what the guest reads as serial, up to 20 bytes"),
    of_disk<Flag, &DiskConfig::direct>("direct", "", "go round the host's page cache (O_DIRECT)"),
    of_disk<CountOrAuto, &DiskConfig::queues>("queues", "N", "request queues; by itself one a CPU, up to 4"),
    of_disk<Flag, &DiskConfig::lock>("lock", "", "keep other processes from using the image"),
};
constexpr Field kNet[] = {
    field<NetKind, NetConfig, std::identity{}>(
        "kind", "user|tap=NAME|fd=N[:N...]|socket=N",
        "without privileges; a tap, made if it is not there; taps that uvmm inherits"),
    of_net<Forwards, &NetConfig::forwards>("forward", "tcp|udp:[ADDRESS]:PORT-[ADDRESS]:PORT",
                                           "with user: a port of the host, then of the guest; repeatable"),
    of_net<Mac, &NetConfig::mac>("mac", "MAC", "by itself derived from --name, the tap and the order"),
    of_net<CountOrAuto, &NetConfig::mtu>("mtu", "BYTES", "what the guest is told; by itself nothing"),
    of_net<CountOrAuto, &NetConfig::queues>(
        "queues", "N", "queue pairs; by itself one a CPU, up to 4, if the tap has several"),
    of_net<Count, &NetConfig::queue_size>("queue-size", "N", "entries of each queue, up to 1024"),
};
constexpr Field kVsock[] = {
    field<Count, VsockConfig, &VsockConfig::cid>("cid", "CID", "the guest's address, 3 or more"),
    field<Text, VsockConfig, &VsockConfig::path>(
        "path", "SOCKET", "where host programs connect; the guest's port 52 of CID 2 is SOCKET_52"),
};
constexpr Field kShare[] = {
    of_share<Text, &ShareConfig::path>("path", "DIR", "what the guest mounts with -t virtiofs TAG"),
    of_share<Text, &ShareConfig::tag>("tag", "NAME", "by itself the last part of DIR"),
    of_share<Flag, &ShareConfig::read_only>("ro", "", "the guest changes nothing"),
    of_share<Cache, &ShareConfig::cache>("cache", "auto|always|never",
                                         "always: if nobody else changes it; never: ask each time"),
    of_share<Flag, &ShareConfig::writeback>("writeback", "", "the guest gathers writes; if it is its own"),
    of_share<Id, &ShareConfig::uid>("uid", "N", "all files appear to be this user's"),
    of_share<Id, &ShareConfig::gid>("gid", "N", "likewise, this group's"),
};
constexpr Field kBalloon[] = {
    field<BalloonSize, BalloonConfig, std::identity{}>("size", "SIZE|off",
                                                       "what the guest is to do without at first"),
    field<Flag, BalloonConfig, &BalloonConfig::deflate_on_oom>(
        "deflate-on-oom", "", "a guest that runs out of memory takes some back"),
    field<Flag, BalloonConfig, &BalloonConfig::free_page_reporting>(
        "free-page-reporting", "", "free memory goes back by itself; not with hugepages or prefault"),
};
constexpr Field kRng[] = {of_config<Flag, &Config::rng>("rng", "on|off")};
constexpr Field kConsole[] = {of_settings<Console, &Settings::console>(
    "console", "tty|file=P|unix=P|off", "auto: standard input and output if a terminal, else output only")};
constexpr Field kEarlycon[] = {of_config<Flag, &Config::earlycon>("earlycon", "")};

// Running

constexpr Field kName[] = {of_config<Text, &Config::name>("name", "TEXT")};
constexpr Field kControl[] = {of_settings<Control, &Settings::control>("control", "PATH|fd=N|auto", "")};
constexpr Field kUuid[] = {of_config<Text, &Config::uuid>("uuid", "UUID")};
constexpr Field kCredential[] = {
    field<Credential, CredentialConfig, std::identity{}>("credential", "ID@FILE", {})};
constexpr Field kPidfile[] = {of_settings<Text, &Settings::pidfile>("pidfile", "PATH", "")};
constexpr Field kLogFile[] = {of_settings<Text, &Settings::log_file>("log-file", "PATH", "")};
constexpr Field kLogLevel[] = {of_settings<Level, &Settings::log_level>("log-level", "LEVEL")};
constexpr Field kLogFormat[] = {of_settings<Format, &Settings::log_format>("log-format", "text|json", "")};
constexpr Field kVerbose[] = {of_settings<Times, &Settings::verbose>("verbose", "")};
constexpr Field kQuiet[] = {of_settings<Flag, &Settings::quiet>("quiet", "")};

// Configuration

constexpr Field kConfigFile[] = {of_settings<Text, &Settings::config_file>("config", "FILE", "")};
constexpr Field kDryRun[] = {of_settings<Flag, &Settings::dry_run>("dry-run", "")};
constexpr Field kPrintConfig[] = {
    of_settings<PrintFormat, &Settings::print_config>("print-config", "json", "")};
constexpr Field kVersion[] = {of_settings<Flag, &Settings::version>("version", "")};
constexpr Field kHelp[] = {of_settings<Text, &Settings::help_topic>("help", "GROUP", "")};

// clang-format off
constexpr Option kOptions[] = {
    {.name = "kernel", .section = "Boot", .help = "bzImage or vmlinux ELF (x86-64)", .fields = kKernel, .place = kConfig},
    {.name = "initrd", .section = "Boot", .help = "initial file system; several are concatenated", .fields = kInitrd, .place = kInitrds},
    {.name = "cmdline", .section = "Boot", .help = "kernel parameters, after the default ones", .fields = kCmdline, .place = kConfig},
    {.name = "default-cmdline", .section = "Boot", .help = "nothing but --cmdline for the kernel", .fields = kDefaultCmdline, .place = kConfig},
    {.name = "cache", .section = "Boot", .help = "do not keep the unpacked kernel", .fields = kCache, .place = kConfig},
    {.name = "cpus", .section = "Machine", .help = "virtual CPUs", .fields = kCpus, .place = kConfig},
    {.name = "memory", .section = "Machine", .help = "RAM", .fields = kMemoryFields, .place = kMemory},
    {.name = "disk", .section = "Devices", .help = "raw image or block device; repeatable", .fields = kDisk, .place = kDisks},
    {.name = "net", .section = "Devices", .help = "network: user, tap=NAME, fd=N[:N...] or socket=N; repeatable", .fields = kNet, .place = kNets},
    {.name = "vsock", .section = "Devices", .help = "sockets between host and guest, without a network", .fields = kVsock, .place = kVsockPlace},
    {.name = "share", .section = "Devices", .help = "directory for the guest, by virtio-fs; repeatable", .fields = kShare, .place = kShares},
    {.name = "balloon", .section = "Devices", .help = "gives memory that the guest does not use back to the host", .fields = kBalloon, .place = kBalloonPlace},
    {.name = "rng", .section = "Devices", .help = "entropy from the host", .fields = kRng, .place = kConfig},
    {.name = "console", .section = "Devices", .help = "the guest's hvc0; Ctrl-a x leaves, Ctrl-a a sends Ctrl-a", .fields = kConsole, .place = kSettings},
    {.name = "earlycon", .section = "Devices", .help = "messages from before the console, to the log", .fields = kEarlycon, .place = kConfig},
    {.name = "name", .section = "Running", .help = "the VM's name in messages", .fields = kName, .place = kConfig},
    {.name = "control", .section = "Running", .help = "a socket to control it by; auto: named after the VM", .fields = kControl, .place = kSettings},
    {.name = "uuid", .section = "Running", .help = "the guest's system UUID", .fields = kUuid, .place = kConfig},
    {.name = "credential", .section = "Running", .help = "a credential for the guest's systemd", .fields = kCredential, .place = kCredentials},
    {.name = "pidfile", .section = "Running", .help = "where to write the process id", .fields = kPidfile, .place = kSettings},
    {.name = "log-file", .section = "Running", .help = "append messages to this file", .fields = kLogFile, .place = kSettings},
    {.name = "log-level", .section = "Running", .help = "error, warning, info or debug", .fields = kLogLevel, .place = kSettings},
    {.name = "log-format", .section = "Running", .help = "one line of text or one JSON object a message", .fields = kLogFormat, .place = kSettings},
    {.name = "verbose", .letter = 'v', .section = "Running", .help = "say more; twice: everything", .fields = kVerbose, .place = kSettings, .in_file = false, .repeatable = true},
    {.name = "quiet", .letter = 'q', .section = "Running", .help = "say errors only", .fields = kQuiet, .place = kSettings, .in_file = false, .repeatable = true},
    {.name = "config", .section = "Configuration", .help = "TOML with the same keys; options override it", .fields = kConfigFile, .place = kSettings, .in_file = false},
    {.name = "dry-run", .section = "Configuration", .help = "check everything, start nothing", .fields = kDryRun, .place = kSettings, .in_file = false},
    {.name = "print-config", .section = "Configuration", .help = "print all of it as TOML or JSON, start nothing", .fields = kPrintConfig, .place = kSettings, .in_file = false, .optional_value = true},
    {.name = "version", .section = "Configuration", .help = "print the version", .fields = kVersion, .place = kSettings, .in_file = false},
    {.name = "help", .letter = 'h', .section = "Configuration", .help = "print this, or the keys of a group: --help disk", .fields = kHelp, .place = kSettings, .in_file = false, .optional_value = true},
};
// clang-format on

}  // namespace

std::span<const Option> options() {
  return kOptions;
}

const Option* find_option(std::string_view name) {
  for (const Option& option : kOptions) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

std::string default_text(const Option& option, const Field& field) {
  Settings settings;
  if (&field == &option.first() && option.place.count(settings) == 0) return {};
  std::string text = field.print(option.place.open(settings));
  if (text == "true") return "on";
  if (text == "false" || text == "\"\"") return {};
  if (text.starts_with('"')) text = text.substr(1, text.size() - 2);
  return text;
}

}  // namespace uvmm::command
