// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "vmm/command/parse.h"
#include "vmm/command/print_config.h"

using namespace uvmm;
using namespace uvmm::command;

namespace {

Settings accepted(std::string_view text) {
  Settings settings;
  Origins origins;
  const Result<void> read = read_config(text, "vm.toml", settings, origins);
  if (!read) FAIL(read.error().message);
  return settings;
}

Error refused(std::string_view text) {
  Settings settings;
  Origins origins;
  const Result<void> read = read_config(text, "vm.toml", settings, origins);
  if (read) FAIL("not refused");
  CHECK(read.error().kind == ErrorKind::kBadData);
  return read.error();
}

// A file that lives as long as the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view text) {
    const int fd = ::mkstemp(path_.data());
    REQUIRE(fd >= 0);
    REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    ::close(fd);
  }
  ~TemporaryFile() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/uvmm-config-test-XXXXXX";
};

long resident_kilobytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

TEST_CASE("config file: the options' names are the keys") {
  const Settings settings = accepted(R"(
kernel = "bzImage"
initrd = ["1", "2"]
cpus = 4
rng = false
cache = false
console = "file=/log"
log-level = "debug"
[memory]
size = "1G"
hugepages = true
[[disk]]
path = "b,c.img"
ro = true
[[disk]]
path = "a.img"
queues = 2
)");
  CHECK(settings.config.kernel == "bzImage");
  CHECK(settings.config.initrds.size() == 2);
  CHECK(settings.config.cpus == 4);
  CHECK_FALSE(settings.config.rng);
  CHECK_FALSE(settings.config.kernel_cache);
  CHECK(settings.console.path == "/log");
  CHECK(settings.log_level == LogLevel::kDebug);
  CHECK(settings.config.memory.bytes == 1u << 30);
  CHECK(settings.config.memory.hugepages);
  REQUIRE(settings.config.disks.size() == 2);
  CHECK(settings.config.disks[0].path == "b,c.img");  // a comma in a string is no separator
  CHECK(settings.config.disks[0].read_only == true);
  CHECK(settings.config.disks[1].queues == 2);
}

TEST_CASE("config file: a group may be its first value alone") {
  const Settings settings = accepted("memory = \"64M\"\ndisk = [\"a\", { path = \"b\", ro = true }]\n");
  CHECK(settings.config.memory.bytes == 64u << 20);
  REQUIRE(settings.config.disks.size() == 2);
  CHECK(settings.config.disks[1].read_only == true);
  CHECK(accepted("disk = \"a\"").config.disks.at(0).path == "a");
  CHECK(accepted("memory = 67108864").config.memory.bytes == 64u << 20);
}

TEST_CASE("config file: a network device, with a list of forwards") {
  const Settings settings =
      accepted("net = ['tap=t0', { kind = 'user', forward = ['tcp::1-:2', 'udp::3-:4'] }]");
  REQUIRE(settings.config.nets.size() == 2);
  CHECK(settings.config.nets[0].tap == "t0");
  REQUIRE(settings.config.nets[1].forwards.size() == 2);
  CHECK(settings.config.nets[1].forwards[1].host_port == 3);
  CHECK(accepted("[[net]]\nforward = 'tcp::1-:2'").config.nets.at(0).forwards.size() == 1);
  CHECK(refused("[[net]]\nforward = [1]").message ==
        "vm.toml:2:12: forward: a value of that type does not fit");
  CHECK(refused("[[net]]\nmac = ['auto']").message == "vm.toml:2:7: mac: a value of that type does not fit");

  const Result<std::string> printed = print_config(settings);
  REQUIRE(printed);
  CHECK(printed->find("forward = [\"tcp::1-:2\", \"udp::3-:4\"]") != std::string::npos);
  CHECK(*print_config(accepted(*printed)) == *printed);
}

TEST_CASE("config file: errors name line and column") {
  CHECK(refused("cpus = 1\nkernl = \"x\"\n").message == "vm.toml:2:1: unknown key \"kernl\"");
  CHECK(refused("cpus = 1\nkernl = \"x\"\n").hint == "did you mean kernel?");
  const Error key = refused("[[disk]]\npath = \"a\"\n  seriel = \"x\"\n");
  CHECK(key.message == "vm.toml:3:3: disk: unknown key \"seriel\"");
  CHECK(key.hint == "did you mean serial?");
  CHECK(refused("cpus = \"x\"").message == "vm.toml:1:8: cpus: \"x\" is not a number");
  CHECK(refused("cpus = -1").message == "vm.toml:1:8: cpus: \"-1\" is not a number");
  CHECK(refused("cpus = 1.5").message == "vm.toml:1:8: cpus: a value of that type does not fit");
  CHECK(refused("kernel = 1").message == "vm.toml:1:10: kernel: a value of that type does not fit");
  CHECK(refused("kernel = [\"a\"]").message == "vm.toml:1:10: kernel is not a list");
  CHECK(refused("[kernel]\npath = \"a\"").message == "vm.toml:1:1: kernel is a value, not a table");
  CHECK(refused("a = ").message.starts_with("vm.toml:1:"));
  CHECK(refused("config = \"x\"").message == "vm.toml:1:1: unknown key \"config\"");
}

TEST_CASE("config file: what the check of the whole finds is located, too") {
  const TemporaryFile file(
      "kernel = \"k\"\ncpus = 0\n[[disk]]\npath = \"a\"\n[[disk]]\npath = \"ab\"\nserial = "
      "\"012345678901234567890\"\n");
  const char* argv[] = {"uvmm", "--config", file.path().c_str()};
  Result<Parsed> parsed = parse(argv);
  REQUIRE(parsed);
  const Result<void> cpus = check(parsed->settings.config);
  REQUIRE_FALSE(cpus);
  CHECK(locate(cpus.error(), parsed->origins).message ==
        file.path() + ":2:8: --cpus 0: at least 1 is needed");
  CHECK(locate(cpus.error(), parsed->origins).hint == "the default is 1");
  parsed->settings.config.cpus = 1;
  const Result<void> serial = check(parsed->settings.config);
  REQUIRE_FALSE(serial);
  CHECK(locate(serial.error(), parsed->origins).message.starts_with(file.path() + ":6:8: --disk ab: serial"));
}

TEST_CASE("config file: what the command line overrides is not blamed on the file") {
  const TemporaryFile file("kernel = \"k\"\ncpus = 1\n");
  const char* argv[] = {"uvmm", "--config", file.path().c_str(), "--cpus=0"};
  Result<Parsed> parsed = parse(argv);
  REQUIRE(parsed);
  const Result<void> cpus = check(parsed->settings.config);
  REQUIRE_FALSE(cpus);
  CHECK(locate(cpus.error(), parsed->origins).message == "--cpus 0: at least 1 is needed");
}

TEST_CASE("config file: the command line overrides it, key by key, and adds to its lists") {
  const TemporaryFile file(
      "cpus = 2\nkernel = \"k\"\ndisk = [\"a\"]\nearlycon = true\n[memory]\nsize = \"1G\"\nshared = true\n");
  const char* argv[] = {"uvmm",   "--cpus", "3",           "--config",     file.path().c_str(),
                        "--disk", "b",      "--memory=2G", "--no-earlycon"};
  const Result<Parsed> parsed = parse(argv);
  REQUIRE(parsed);
  const Config& config = parsed->settings.config;
  CHECK(config.cpus == 3);
  CHECK(config.kernel == "k");
  CHECK_FALSE(config.earlycon);
  CHECK(config.memory.bytes == 2ull << 30);
  CHECK(config.memory.shared);
  REQUIRE(config.disks.size() == 2);
  CHECK(config.disks[0].path == "a");
  CHECK(config.disks[1].path == "b");
}

TEST_CASE("config file: --print-config prints what reads back as the same") {
  const char* argv[] = {"uvmm",
                        "--kernel=k \"1\"",
                        "--initrd=1,\\2",
                        "--initrd=\xc3\xa9",
                        "--cmdline=a=\"b c\"\td",
                        "--no-cache",
                        "--cpus=3",
                        "--memory=1025M,mergeable",
                        "--disk=a,,b,no-ro,queues=2,serial=S",
                        "--disk=c",
                        "--rng=off",
                        "--console=unix=/tmp/s",
                        "--log-format=json",
                        "--name=x"};
  const Result<Parsed> parsed = parse(argv);
  REQUIRE(parsed);
  const Result<std::string> printed = print_config(parsed->settings);
  REQUIRE(printed);
  const Settings read_back = accepted(*printed);
  CHECK(*print_config(read_back) == *printed);
  CHECK(read_back.config.kernel == "k \"1\"");
  CHECK(read_back.config.initrds == parsed->settings.config.initrds);
  CHECK(read_back.config.cmdline == "a=\"b c\"\td");
  CHECK_FALSE(read_back.config.kernel_cache);
  CHECK(read_back.config.memory.bytes == 1025ull << 20);
  CHECK(read_back.config.memory.mergeable);
  REQUIRE(read_back.config.disks.size() == 2);
  CHECK(read_back.config.disks[0].path == "a,b");
  CHECK(read_back.config.disks[0].read_only == false);
  CHECK(read_back.config.disks[1].read_only == std::nullopt);
  CHECK(read_back.console.path == "/tmp/s");
  CHECK(read_back.log_format == LogFormat::kJson);
}

TEST_CASE("config file: --print-config refuses what cannot be TOML") {
  Settings settings;
  settings.config.kernel = "\xff";
  CHECK_FALSE(print_config(settings));
  CHECK_FALSE(print_config_json(settings));
}

TEST_CASE("[case 165] config file: 10000 levels of nesting are refused") {
  const std::string open(10000, '['), close(10000, ']');
  CHECK_FALSE(refused("disk = " + open + close).message.empty());
  std::string tables;
  for (int i = 0; i < 10000; ++i) tables += "{a=";
  CHECK_FALSE(refused("disk = " + tables).message.empty());
}

TEST_CASE("[case 165] config file: 10000 dotted keys are refused before a tree is made of them") {
  std::string dotted = "a";
  for (int i = 0; i < 10000; ++i) dotted += ".a";
  CHECK(refused(dotted + " = 1").message == "vm.toml: nested too deeply");
  CHECK(refused("[" + dotted + "]").message == "vm.toml: nested too deeply");
  std::string lines;
  for (int i = 0; i < 10000; ++i) lines += "x = '''\n'''#\"\n.";
  CHECK(refused(lines).message == "vm.toml: nested too deeply");
}

TEST_CASE("[case 165] config file: dots in strings and comments are no nesting") {
  const std::string dots(5000, '.');
  CHECK(accepted("kernel = \"" + dots + "\"").config.kernel == dots);
  CHECK(accepted("kernel = '" + dots + "'").config.kernel == dots);
  CHECK(accepted("kernel = \"\\\"" + dots + "\"").config.kernel == "\"" + dots);
  CHECK(accepted("kernel = \"\"\"a\n" + dots + "\"\"\"").config.kernel == "a\n" + dots);
  CHECK(accepted("cpus = 2 # \"" + dots + "\n").config.cpus == 2);
}

TEST_CASE("[case 165] config file: a string of 1 GiB is refused in little memory") {
  const TemporaryFile file("kernel = \"");
  REQUIRE(::truncate(file.path().c_str(), off_t{1} << 30) == 0);
  const long before = resident_kilobytes();
  Settings settings;
  Origins origins;
  const Result<void> read = read_config_file(file.path(), settings, origins);
  REQUIRE_FALSE(read);
  CHECK(read.error().message.find("longer than 1048576 bytes") != std::string::npos);
  CHECK(resident_kilobytes() - before < 8 << 10);
  CHECK_FALSE(read_config_file("/dev/zero", settings, origins));
}

TEST_CASE("[case 165] config file: duplicate keys are refused") {
  CHECK(refused("cpus = 1\ncpus = 2\n").message.starts_with("vm.toml:2:"));
  CHECK(refused("[memory]\nsize=\"1G\"\n[memory]\n").message.starts_with("vm.toml:3:"));
  CHECK(refused("[[disk]]\npath=\"a\"\npath=\"b\"\n").message.starts_with("vm.toml:3:"));
}

TEST_CASE("[case 165] config file: trailing bytes, NULs and broken UTF-8 are refused") {
  CHECK(refused("cpus = 1 2\n").message.starts_with("vm.toml:1:"));
  CHECK(refused(std::string_view("cpus = 1\n\0", 10)).message.starts_with("vm.toml:"));
  CHECK(refused("kernel = \"\xff\"").message.starts_with("vm.toml:1:"));
  CHECK(refused("kernel = \"\xed\xa0\x80\"").message.starts_with("vm.toml:1:"));
}

TEST_CASE("[case 165] config file: what the parser did not expect is refused, too") {
  CHECK(refused("[\x15").message == "vm.toml: it is not TOML");
}

TEST_CASE("[case 165] config file: characters beyond ASCII are in strings and comments only") {
  const std::string accent = "\xc3\xa9", wide = "\xef\xbf\xbf", greek = "\xcd\xb5";
  for (const std::string& character : {accent, wide, greek}) {
    CHECK(refused(character + " = 1").message.starts_with("vm.toml:1:"));
    CHECK(refused("cpus = 1" + character).message.starts_with("vm.toml:1:"));
    CHECK(refused("cpus = 1x\"" + character).message.starts_with("vm.toml:1:"));
    CHECK(accepted("name = '" + character + "' # " + character).config.name == character);
    CHECK(accepted("name = \"\"\"\\\n " + character + "\"\"\"").config.name == character);
  }
}

TEST_CASE("config file: a file that is not there, or is a directory") {
  Settings settings;
  Origins origins;
  CHECK(read_config_file("/nonexistent", settings, origins).error().kind == ErrorKind::kNoInput);
  CHECK(read_config_file("/dev/null/vm.toml", settings, origins).error().kind == ErrorKind::kNoInput);
  CHECK(read_config_file("/tmp", settings, origins).error().message == "cannot read /tmp: Is a directory");
}
