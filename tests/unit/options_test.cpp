// SPDX-License-Identifier: Apache-2.0
// The table of options, and the command line that is read by it.
#include <catch2/catch.hpp>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "vmm/command/help.h"
#include "vmm/command/options.h"
#include "vmm/command/parse.h"

using namespace uvmm;
using namespace uvmm::command;

namespace {

Result<Parsed> parse_line(std::initializer_list<const char*> arguments) {
  std::vector<const char*> argv = {"uvmm"};
  argv.insert(argv.end(), arguments);
  return parse(argv);
}

Settings accepted(std::initializer_list<const char*> arguments) {
  Result<Parsed> parsed = parse_line(arguments);
  if (!parsed) FAIL(parsed.error().message);
  return parsed->settings;
}

Error refused(std::initializer_list<const char*> arguments) {
  Result<Parsed> parsed = parse_line(arguments);
  if (parsed) FAIL("not refused");
  CHECK(parsed.error().kind == ErrorKind::kUsage);
  return parsed.error();
}

}  // namespace

TEST_CASE("options: a value follows its option or an equals sign") {
  CHECK(accepted({"--kernel", "bzImage"}).config.kernel == "bzImage");
  CHECK(accepted({"--kernel=bzImage"}).config.kernel == "bzImage");
  CHECK(accepted({"--cmdline=a=b c=d,e"}).config.cmdline == "a=b c=d,e");
}

TEST_CASE("options: a value may look like an option") {
  CHECK(accepted({"--cmdline", "--kernel"}).config.cmdline == "--kernel");
  CHECK(accepted({"--name", "-v"}).verbose == 0);
}

TEST_CASE("options: an empty value does not swallow the next argument") {
  const Settings settings = accepted({"--cmdline=", "--kernel", "k"});
  CHECK(settings.config.cmdline.empty());
  CHECK(settings.config.kernel == "k");
  CHECK(accepted({"--cmdline", "", "--kernel", "k"}).config.kernel == "k");
}

TEST_CASE("options: lists keep their order") {
  const Settings settings = accepted({"--disk", "b", "--initrd=2", "--disk=a", "--initrd", "1"});
  REQUIRE(settings.config.disks.size() == 2);
  CHECK(settings.config.disks[0].path == "b");
  CHECK(settings.config.disks[1].path == "a");
  CHECK(settings.config.initrds == std::vector<std::string>{"2", "1"});
}

TEST_CASE("options: a share takes keys, with and without values") {
  const ShareConfig share =
      accepted({"--share", "dir,tag=t,ro,cache=always,writeback,uid=1000,gid=0"}).config.shares.at(0);
  CHECK(share.path == "dir");
  CHECK(share.tag == "t");
  CHECK(share.read_only);
  CHECK(share.cache == ShareConfig::Cache::kAlways);
  CHECK(share.writeback);
  CHECK(share.uid == 1000);
  CHECK(share.gid == 0);
  const ShareConfig plain = accepted({"--share=dir"}).config.shares.at(0);
  CHECK(plain.cache == ShareConfig::Cache::kAuto);
  CHECK(plain.uid == std::nullopt);
  CHECK(refused({"--share", "dir,cache=often"}).message.find("auto, always or never") != std::string::npos);
  CHECK(refused({"--share", "dir,uid=root"}).message.find("is not a number") != std::string::npos);
}

TEST_CASE("options: a disk takes keys, with and without values") {
  const DiskConfig disk =
      accepted({"--disk", "a.img,ro,serial=one=1,queues=3,no-lock,direct=on,root"}).config.disks.at(0);
  CHECK(disk.path == "a.img");
  CHECK(disk.read_only == true);
  CHECK(disk.serial == "one=1");
  CHECK(disk.queues == 3);
  CHECK_FALSE(disk.lock);
  CHECK(disk.direct);
  CHECK(disk.root);
}

TEST_CASE("options: a network device is user, a tap or descriptors, with keys") {
  const Settings settings =
      accepted({"--net", "user,forward=tcp:127.0.0.1:2222-:22,forward=udp:[::1]:53-10.0.2.15:5353", "--net",
                "tap=tap0,mac=52:54:00:aB:cd:ef,mtu=9000,queues=2,queue-size=512", "--net", "fd=5:7"});
  REQUIRE(settings.config.nets.size() == 3);
  const NetConfig& user = settings.config.nets[0];
  CHECK(user.kind == NetConfig::Kind::kUser);
  REQUIRE(user.forwards.size() == 2);
  CHECK(user.forwards[0].protocol == NetForward::Protocol::kTcp);
  CHECK(user.forwards[0].host_address == "127.0.0.1");
  CHECK(user.forwards[0].host_port == 2222);
  CHECK(user.forwards[0].guest_address.empty());
  CHECK(user.forwards[0].guest_port == 22);
  CHECK(user.forwards[1].protocol == NetForward::Protocol::kUdp);
  CHECK(user.forwards[1].host_address == "::1");
  CHECK(user.forwards[1].guest_address == "10.0.2.15");
  CHECK_FALSE(user.mac);
  const NetConfig& tap = settings.config.nets[1];
  CHECK(tap.kind == NetConfig::Kind::kTap);
  CHECK(tap.tap == "tap0");
  CHECK(tap.mac == std::array<std::uint8_t, 6>{0x52, 0x54, 0x00, 0xab, 0xcd, 0xef});
  CHECK(tap.mtu == 9000);
  CHECK(tap.queue_size == 512);
  CHECK(tap.queues == 2);
  CHECK(settings.config.nets[2].kind == NetConfig::Kind::kFds);
  CHECK(settings.config.nets[2].fds == std::vector<int>{5, 7});
  const NetConfig socket = accepted({"--net", "socket=6"}).config.nets[0];
  CHECK(socket.kind == NetConfig::Kind::kSocket);
  CHECK(socket.fds == std::vector<int>{6});
}

TEST_CASE("[case 164] options: a network device that is none is refused") {
  for (const char* const kind : {"", "usr", "tap", "fd", "user=1", "br=br0"}) {
    CAPTURE(kind);
    CHECK(refused({"--net", kind}).message.find("is not user, tap=NAME, fd=N[:N...] or socket=N") !=
          std::string::npos);
  }
  CHECK(refused({"--net", "fd="}).message == "--net: \"fd=\" is not a number");
  CHECK(refused({"--net", "fd=3:"}).message == "--net: \"fd=3:\" ends with a colon");
  CHECK(refused({"--net", "fd=3::4"}).message == "--net: \"fd=3::4\" is not a number");
  CHECK(refused({"--net", "fd=4294967296"}).message == "--net: \"fd=4294967296\" is more than 2147483647");
  CHECK(refused({"--net", "fd=-1"}).message == "--net: \"fd=-1\" is not a number");
  for (const char* const mac :
       {"", "52:54:00:12:34", "52:54:00:12:34:5", "52:54:00:12:34:56:78", "52-54-00-12-34-56",
        "52:54:00:12:34:5g", "525400123456", "+2:54:00:12:34:56", "52:54:00:12:34:56 "}) {
    CAPTURE(mac);
    const std::string text = std::string("user,mac=") + mac;
    CHECK(refused({"--net", text.c_str()}).message.find("is not an address like") != std::string::npos);
  }
  for (const char* const forward : {"", "tcp", "tcp::22", "sctp::1-:2", "tcp:1-2", "tcp::1-:",
                                    "tcp:::1:80-:80", "tcp:[::1:80-:80", "tcp::65536-:1", "tcp::1-:x"}) {
    CAPTURE(forward);
    const std::string text = std::string("user,forward=") + forward;
    CHECK(refused({"--net", text.c_str()}).message.find("is not like tcp:") != std::string::npos);
  }
  CHECK(refused({"--net", "user,mac=auto,mac=auto"}).message == "--net user: mac is given twice");
  CHECK(refused({"--net", "user,no-forward"}).message == "--net user: forward cannot be switched off");
}

TEST_CASE("options: what is not given stays at its default") {
  const DiskConfig disk = accepted({"--disk", "a"}).config.disks.at(0);
  CHECK(disk.read_only == std::nullopt);
  CHECK(disk.queues == 0);
  CHECK(disk.lock);
  const Settings settings = accepted({"--kernel", "k"});
  CHECK(settings.config.memory.bytes == 512u << 20);
  CHECK(settings.config.cpus == 1);
  CHECK(settings.config.rng);
  CHECK(settings.config.default_cmdline);
  CHECK(settings.console.kind == ConsoleChoice::Kind::kAuto);
}

TEST_CASE("options: the same with no- and with off") {
  CHECK(accepted({"--disk", "a,no-ro"}).config.disks.at(0).read_only == false);
  CHECK(accepted({"--disk", "a,ro=off"}).config.disks.at(0).read_only == false);
  CHECK(accepted({"--disk", "a,ro=auto"}).config.disks.at(0).read_only == std::nullopt);
}

TEST_CASE("options: a comma that is doubled is a comma") {
  CHECK(accepted({"--disk", "a,,b,,c,ro"}).config.disks.at(0).path == "a,b,c");
  CHECK(accepted({"--disk", "a,serial=x,,y"}).config.disks.at(0).serial == "x,y");
}

TEST_CASE("options: a value without keys has its commas for itself") {
  CHECK(accepted({"--cmdline", "console=ttyS0,115200,,"}).config.cmdline == "console=ttyS0,115200,,");
  CHECK(accepted({"--kernel", "a,b"}).config.kernel == "a,b");
}

TEST_CASE("options: brackets and quotes mean nothing") {
  CHECK(accepted({"--disk", "[a b]"}).config.disks.at(0).path == "[a b]");
  CHECK(accepted({"--name", "\"x\""}).config.name == "\"x\"");
}

TEST_CASE("options: memory takes a size and flags") {
  const MemoryConfig memory = accepted({"--memory", "2G,hugepages,prefault"}).config.memory;
  CHECK(memory.bytes == 2ull << 30);
  CHECK(memory.hugepages);
  CHECK(memory.prefault);
  CHECK_FALSE(memory.shared);
}

TEST_CASE("options: switches") {
  const Settings settings = accepted({"--no-cache", "--no-default-cmdline", "--earlycon", "--dry-run"});
  CHECK_FALSE(settings.config.kernel_cache);
  CHECK_FALSE(settings.config.default_cmdline);
  CHECK(settings.config.earlycon);
  CHECK(settings.dry_run);
}

TEST_CASE("options: how much is said") {
  CHECK(effective_log_level(accepted({"--dry-run"})) == LogLevel::kWarning);
  CHECK(effective_log_level(accepted({"-v"})) == LogLevel::kInfo);
  CHECK(effective_log_level(accepted({"-vv"})) == LogLevel::kDebug);
  CHECK(effective_log_level(accepted({"-v", "-v"})) == LogLevel::kDebug);
  CHECK(effective_log_level(accepted({"-q", "-v"})) == LogLevel::kError);
  CHECK(effective_log_level(accepted({"--log-level", "debug"})) == LogLevel::kDebug);
}

TEST_CASE("options: the console") {
  using Kind = ConsoleChoice::Kind;
  CHECK(accepted({"--console", "tty"}).console.kind == Kind::kTty);
  CHECK(accepted({"--console", "off"}).console.kind == Kind::kOff);
  const ConsoleChoice file = accepted({"--console=file=a=b"}).console;
  CHECK(file.kind == Kind::kFile);
  CHECK(file.path == "a=b");
  CHECK(accepted({"--console", "unix=/s"}).console.kind == Kind::kUnix);
  CHECK(refused({"--console", "file="}).message.find("lacks the path") != std::string::npos);
  CHECK(refused({"--console", "pty"}).message.find("is not tty") != std::string::npos);
}

TEST_CASE("options: a virtio socket") {
  CHECK_FALSE(accepted({}).config.vsock);
  const auto vsock = accepted({"--vsock", "3,path=/run/vm.vsock"}).config.vsock;
  REQUIRE(vsock);
  CHECK(vsock->cid == 3);
  CHECK(vsock->path == "/run/vm.vsock");
  CHECK(refused({"--vsock", "4294967296,path=/s"}).message.find("is more than 4294967295") !=
        std::string::npos);
  CHECK(refused({"--vsock", "guest,path=/s"}).message.find("is not a number") != std::string::npos);
}

TEST_CASE("options: standard streams as the console") {
  const ConsoleConfig terminal = console_config({}, true);
  CHECK(terminal.input_fd == 0);
  CHECK(terminal.escape);
  const ConsoleConfig output_only = console_config({}, false);
  CHECK(output_only.input_fd == -1);
  CHECK(output_only.output_fd == 1);
  const ConsoleConfig pipe = console_config({.kind = ConsoleChoice::Kind::kTty}, false);
  CHECK(pipe.input_fd == 0);
  CHECK_FALSE(pipe.escape);  // every byte of a pipe is the guest's
}

TEST_CASE("options: an unknown option is refused with the nearest one") {
  CHECK(refused({"--dsk", "a"}).hint == "did you mean --disk?");
  CHECK(refused({"--memroy=1G"}).hint == "did you mean --memory?");
  CHECK(refused({"--frobnicate"}).hint == "see uvmm --help");
  CHECK(refused({"-x"}).message == "unknown option: -x");
  CHECK(refused({"kernel"}).message == "unexpected argument: kernel");
  CHECK(refused({"--", "a"}).message == "unknown option: --");
  CHECK(refused({"--no-kernel"}).message == "unknown option: --no-kernel");
}

TEST_CASE("options: an option without its value is refused") {
  CHECK(refused({"--disk"}).message == "--disk: its value is missing");
  CHECK(refused({"--disk", "a,serial"}).hint == "serial=TEXT");
  CHECK(refused({"--disk", "a,no-serial"}).message == "--disk a: serial cannot be switched off");
}

TEST_CASE("[case 161] options: sizes and counts that are none are refused") {
  for (const char* const size :
       {"-1", "1E", "512MB ", "512MB", "0x10", "1.5G", "", "G", " 1G", "+1G", "1k"}) {
    CAPTURE(size);
    CHECK(refused({"--memory", size}).message.find("is not a size") != std::string::npos);
  }
  for (const char* const size : {"99999999999999999999", "16777216T", "18446744073709551616"}) {
    CAPTURE(size);
    CHECK(refused({"--memory", size}).message.find("more than any machine has") != std::string::npos);
  }
  for (const char* const count : {"one", "-1", "1.0", "", " 1", "1 ", "0x1"}) {
    CAPTURE(count);
    CHECK(refused({"--cpus", count}).message.find("is not a number") != std::string::npos);
  }
  CHECK(refused({"--cpus", "one"}).hint == "the default is 1");
  CHECK(refused({"--memory", "big"}).hint == "the default is 512M");
  CHECK(refused({"--disk", "a,queues=x"}).hint == "the default is auto");
  CHECK(refused({"--cpus", "4294967296"}).message.find("is more than 4294967295") != std::string::npos);
  CHECK(refused({"--disk", "a,queues=65537"}).message == "--disk a: queues: \"65537\" is more than 65535");
  CHECK(refused({"--disk", "a,queues=0"}).message == "--disk a: queues: \"0\" is less than 1");
}

TEST_CASE("[case 164] options: an unknown key is refused with the nearest one") {
  CHECK(refused({"--disk", "a,seriel=x"}).message == "--disk a: unknown key \"seriel\"");
  CHECK(refused({"--disk", "a,seriel=x"}).hint == "did you mean serial?");
  CHECK(refused({"--disk", "a,no-rooot"}).hint == "did you mean root?");
  CHECK(refused({"--disk", "a,"}).message == "--disk a: unknown key \"\"");
  CHECK(refused({"--disk", "a,path=b"}).message == "--disk a: unknown key \"path\"");
  CHECK(refused({"--memory", "1G,huge"}).message == "--memory 1G: unknown key \"huge\"");
}

TEST_CASE("[case 164] options: a comma in a path is not taken silently") {
  CHECK(refused({"--disk", "dir,with/comma.img"}).message == "--disk dir: unknown key \"with/comma.img\"");
}

TEST_CASE("[case 164] options: a repeated key or option is refused") {
  CHECK(refused({"--disk", "a,ro,ro"}).message == "--disk a: ro is given twice");
  CHECK(refused({"--disk", "a,ro,no-ro"}).message == "--disk a: ro is given twice");
  CHECK(refused({"--disk", "a,serial=1,serial=2"}).message == "--disk a: serial is given twice");
  CHECK(refused({"--kernel", "a", "--kernel", "b"}).message == "--kernel: given twice");
  CHECK(refused({"--memory", "1G", "--memory", "1G"}).message == "--memory: given twice");
  CHECK(refused({"--earlycon", "--no-earlycon"}).message == "--earlycon: given twice");
}

TEST_CASE("[case 164] options: an argument of 1 MiB is refused, and not repeated in the message") {
  const std::string huge(1 << 20, 'x');
  CHECK(refused({"--kernel", huge.c_str()}).message.size() < 300);
  const std::string with_key = "a,serial=" + std::string(60000, 'y');
  CHECK(accepted({"--disk", with_key.c_str()}).config.disks.at(0).serial.size() == 60000);
  const std::string unknown = "a," + std::string(60000, 'z');
  CHECK(refused({"--disk", unknown.c_str()}).message.size() < 300);
}

TEST_CASE("[case 164] options: messages have no control characters of the arguments") {
  CHECK(refused({"--disk", "a,\x1b[2J\n"}).message == "--disk a: unknown key \"\\x1b[2J\\x0a\"");
  CHECK(refused({"--cpus", "\r1"}).message == "--cpus: \"\\x0d1\" is not a number");
}

TEST_CASE("options: every option and key has its name once, and a help text") {
  std::vector<std::string_view> names;
  for (const Option& option : options()) {
    CAPTURE(option.name);
    CHECK_FALSE(option.help.empty());
    CHECK_FALSE(option.name.starts_with("no-"));
    names.push_back(option.name);
    for (const Field& key : option.keys()) {
      CAPTURE(key.key);
      CHECK_FALSE(key.help.empty());
      CHECK(std::ranges::count(option.fields, key.key, &Field::key) == 1);
      CHECK_FALSE(key.key.starts_with("no-"));
    }
  }
  std::ranges::sort(names);
  CHECK(std::ranges::adjacent_find(names) == names.end());
}

TEST_CASE("help: fits 40 lines of 100 characters and has every option") {
  const std::string text = help();
  CHECK(std::ranges::count(text, '\n') <= 40);
  std::size_t start = 0;
  for (std::size_t end = text.find('\n'); end != text.npos; start = end + 1, end = text.find('\n', start)) {
    CHECK(end - start <= 100);
  }
  for (const Option& option : options()) {
    CAPTURE(option.name);
    CHECK(text.find(option.name) != std::string::npos);
  }
}

TEST_CASE("help: a group's keys with their defaults") {
  const Result<std::string> disk = help_on("disk");
  REQUIRE(disk);
  CHECK(disk->find("serial=TEXT") != std::string::npos);
  CHECK(disk->find("lock, no-lock") != std::string::npos);
  CHECK(disk->find("(default on)") != std::string::npos);
  CHECK(help_on("--memory")->find("(default 512M)") != std::string::npos);
  CHECK(help_on("dsk").error().hint == "did you mean disk?");
  CHECK(accepted({"--help", "disk"}).help_topic == "disk");
  CHECK(accepted({"--help"}).help);
  CHECK(accepted({"-h"}).help_topic.empty());
}

TEST_CASE("options: the log format is known even where the command line does not parse") {
  const auto format = [](std::vector<const char*> argv) { return log_format_of(argv); };
  CHECK(format({"uvmm", "--frobnicate", "--log-format=json"}) == LogFormat::kJson);
  CHECK(format({"uvmm", "--log-format", "json", "stray"}) == LogFormat::kJson);
  CHECK(format({"uvmm", "--log-format"}) == LogFormat::kText);
  CHECK(format({"uvmm", "--log-format=xml"}) == LogFormat::kText);
  CHECK(format({"uvmm", "--log-formats=json"}) == LogFormat::kText);
}
