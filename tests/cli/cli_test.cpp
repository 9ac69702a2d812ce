// SPDX-License-Identifier: Apache-2.0
// The uvmm command as its users have it: options, messages, exit statuses.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>

#include "tests/cli/payload.h"
#include "tests/cli/process.h"
#include "tests/fakes/skip.h"

using namespace uvmm::test;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

using uvmm::skip;

namespace {

// A system call that a container's policy forbids.
void forbid(unsigned number) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {.len = 4, .filter = program};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

}  // namespace

TEST_CASE("cli: without arguments there is a short usage") {
  const Ending ending = run({});
  CHECK(ending.status == 64);
  CHECK(ending.output.empty());
  CHECK_THAT(ending.errors, StartsWith("usage: uvmm --kernel PATH"));
}

TEST_CASE("cli: help, version and configuration go to standard output") {
  const Ending help = run({"--help"});
  CHECK(help.status == 0);
  CHECK(help.errors.empty());
  CHECK(std::ranges::count(help.output, '\n') <= 40);
  CHECK_THAT(run({"--help", "disk"}).output, Contains("serial=TEXT"));
  CHECK(run({"--help", "dsk"}).status == 64);
  CHECK_THAT(run({"--version"}).output, StartsWith("uvmm "));
  CHECK_THAT(run({"--print-config", "--cpus=2"}).output, Contains("cpus = 2\n"));
}

TEST_CASE("cli: --print-config reads back through --config") {
  const Directory directory;
  const Ending printed = run({"--print-config", "--kernel=k", "--disk=a,,b,ro", "--memory=1G,shared", "-v"});
  CHECK(printed.status == 0);
  const std::string file = directory.write("vm.toml", printed.output);
  CHECK(run({"--print-config", "--config", file}).output == printed.output);
}

TEST_CASE("cli: doctor says whether a VM can run, line by line") {
  const Ending ending = run({"doctor"});
  CHECK((ending.status == 0 || ending.status == 69));
  CHECK_THAT(ending.output, Contains("/dev/kvm: "));
  CHECK_THAT(ending.output, Contains("guest kernels: "));
  CHECK_THAT(ending.output, Contains("io_uring: "));
  CHECK_THAT(ending.output, Contains(ending.status == 0 ? "A VM can run here." : "No VM can run here."));
}

TEST_CASE("cli: doctor goes alone") {
  const Ending with_option = run({"doctor", "-v"});
  CHECK(with_option.status == 64);
  CHECK(with_option.output.empty());
  CHECK(with_option.errors == "error: unexpected argument: -v\n  hint: doctor takes none\n");
  const Ending after_option = run({"-v", "doctor"});
  CHECK(after_option.status == 64);
  CHECK(after_option.errors == "error: unexpected argument: doctor\n  hint: it goes alone: uvmm doctor\n");
}

TEST_CASE("cli: a message is one line and a hint, and its status fits") {
  const Ending unknown = run({"--kernel", "k", "--dsk", "a"});
  CHECK(unknown.status == 64);
  CHECK(unknown.errors == "error: unknown option: --dsk\n  hint: did you mean --disk?\n");
  CHECK(unknown.output.empty());
  CHECK(run({"--disk", "a"}).status == 64);
  CHECK(run({"--disk", "a"}).errors ==
        "error: --kernel: there is no kernel to boot\n  hint: uvmm --kernel bzImage --disk store.erofs\n");
  const Ending no_path = run({"--kernel", "k", "--vsock", "3"});
  CHECK(no_path.status == 65);
  CHECK(no_path.errors ==
        "error: --vsock 3: path: there is none\n  hint: --vsock CID,path=SOCKET, where host programs "
        "connect\n");
  CHECK(run({"--kernel", "/nonexistent/k", "--dry-run"}).status == 66);
  CHECK(run({"--config", "/nonexistent/vm.toml"}).status == 66);
  CHECK(run({"--config", "/dev/null/vm.toml"}).status == 66);  // no directory
}

TEST_CASE("cli: messages as JSON") {
  const Ending ending = run({"--log-format=json", "--kernel=k", "--cpus=0"});
  CHECK(ending.status == 65);
  CHECK_THAT(ending.errors, StartsWith("{\"time\":\""));
  CHECK_THAT(ending.errors, Contains("\"level\":\"error\",\"vm\":\"uvmm\",\"message\":\"--cpus 0: at least"));
  CHECK(std::ranges::count(ending.errors, '\n') == 1);
}

TEST_CASE("cli: messages as JSON, about the command line and the configuration file, too") {
  const Directory directory;
  const std::string file = directory.write("vm.toml", "cpus = 1\ncpus = 2\n");
  const std::string asks_for_json = directory.write("json.toml", "log-format = \"json\"\n");
  for (const Ending& ending :
       {run({"--log-format", "json", "--frobnicate"}), run({"--log-format=json", "--cpus=x"}),
        run({"--config", file, "--log-format=json"}), run({"--config", asks_for_json})}) {
    CAPTURE(ending.errors);
    CHECK_THAT(ending.errors, StartsWith("{\"time\":\""));
    CHECK(std::ranges::count(ending.errors, '\n') == 1);
  }
}

TEST_CASE("[case 161] cli: memory and CPUs out of bounds") {
  CHECK(run({"--kernel=k", "--memory=0"}).errors ==
        "error: --memory 0: at least 64M is needed\n  hint: the default is 512M\n");
  CHECK(run({"--kernel=k", "--memory=0"}).status == 65);
  CHECK(run({"--kernel=k", "--cpus=many"}).errors ==
        "error: --cpus: \"many\" is not a number\n  hint: the default is 1\n");
  CHECK(run({"--kernel=k", "--memory", "-1"}).status == 64);
  CHECK(run({"--kernel=k", "--memory=1E"}).status == 64);
  CHECK(run({"--kernel=k", "--memory=512MB "}).status == 64);
  CHECK(run({"--kernel=k", "--memory=100T"}).status == 65);
  CHECK(run({"--kernel=k", "--cpus=0"}).status == 65);
  CHECK(run({"--kernel=k", "--cpus=4097"}).status == 65);
  CHECK(run({"--kernel=k", "--cpus=many"}).status == 64);
}

TEST_CASE("[case 162] cli: the same disk twice") {
  CHECK(run({"--kernel=k", "--disk=a", "--disk=a"}).status == 65);
}

TEST_CASE("[case 163] cli: disks that are none") {
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kPowerOff));
  const auto with_disk = [&](const std::string& disk) { return run({"--kernel", kernel, "--disk", disk}); };
  CHECK(with_disk(directory.file("absent")).status == 66);
  CHECK_THAT(with_disk(directory.file("absent")).errors, Contains(directory.file("absent")));
  CHECK(with_disk("/tmp").status == 65);
  CHECK(with_disk(directory.write("empty", "")).status == 65);
  CHECK(with_disk(directory.write("odd", std::string(513, 'x'))).status == 65);
  REQUIRE(::mkfifo(directory.file("fifo").c_str(), 0600) == 0);
  CHECK(with_disk(directory.file("fifo")).status == 65);
}

TEST_CASE("[case 163] cli: a disk without permission") {
  if (::geteuid() != 0) skip("only root can become somebody else");
  const Directory directory;
  ::chmod(directory.file(".").c_str(), 0755);
  const std::string kernel = directory.write("kernel", payload(kPowerOff));
  const std::string disk = directory.write("disk", std::string(512, 'x'));
  ::chmod(disk.c_str(), 0400);
  const Ending ending = run({"--kernel", kernel, "--disk", disk}, {.before_exec = [] {
                              if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
                            }});
  CHECK(ending.status == 77);
  CHECK_THAT(ending.errors, Contains(disk + ": Permission denied"));
}

TEST_CASE("[case 164] cli: keys and paths") {
  CHECK(run({"--kernel=k", "--disk=a,seriel=1"}).errors ==
        "error: --disk a: unknown key \"seriel\"\n  hint: did you mean serial?\n");
  CHECK(run({"--kernel=k", "--disk=a,ro,ro"}).status == 64);
  CHECK(run({"--kernel=k", "--disk=a\nb"}).status == 65);
  CHECK(run({"--kernel=k\xff"}).status == 65);
  CHECK(run({"--kernel=" + std::string(100'000, 'k')}).status == 64);
}

TEST_CASE("[case 165] cli: a hostile configuration file is refused in little memory") {
  const Directory directory;
  const std::string nested = directory.write("nested", "disk = " + std::string(10000, '['));
  const std::string dotted = directory.write("dotted", [] {
    std::string text = "a";
    for (int i = 0; i < 500000; ++i) text += ".a";
    return text + " = 1";
  }());
  const std::string huge = directory.write("huge", "kernel = \"");
  REQUIRE(::truncate(huge.c_str(), off_t{1} << 30) == 0);
  const auto bounded = [] {
    const rlimit limit = {.rlim_cur = 32 << 20, .rlim_max = 32 << 20};
    ::setrlimit(RLIMIT_DATA, &limit);
  };
  for (const std::string& file : {nested, dotted, huge}) {
    CAPTURE(file);
    CHECK(run({"--config", file}, {.before_exec = bounded}).status == 65);
  }
  const Ending line = run({"--config", directory.write("bad", "cpus = 1\ncpus = 2\n")});
  CHECK(line.status == 65);
  CHECK_THAT(line.errors, StartsWith("error: " + directory.file("bad") + ":2:"));
}

TEST_CASE("[case 167] cli: no access to /dev/kvm") {
  if (::geteuid() != 0 || !exists("/dev/kvm")) skip("needs root and /dev/kvm");
  struct stat device{};
  ::stat("/dev/kvm", &device);
  if ((device.st_mode & 0006) != 0) skip("everybody has access to /dev/kvm here");
  const Directory directory;
  ::chmod(directory.file(".").c_str(), 0755);
  const std::string kernel = directory.write("kernel", payload(kPowerOff));
  const Ending ending = run({"--kernel", kernel, "--no-cache"}, {.before_exec = [] {
                              if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
                            }});
  CHECK(ending.status == 77);
  CHECK_THAT(ending.errors, Contains("/dev/kvm: Permission denied\n  hint: "));
}

TEST_CASE("[case 167] cli: io_uring is forbidden") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kPowerOff));
  const Ending ending = run({"--kernel", kernel}, {.before_exec = [] { forbid(SYS_io_uring_setup); }});
  CHECK((ending.status == 69 || ending.status == 77));
  CHECK_THAT(ending.errors, Contains("io_uring"));
  CHECK_THAT(ending.errors, Contains("  hint: "));
}

TEST_CASE("cli: the status says how the guest ended") {
  need_kvm();
  const Directory directory;
  const auto status = [&](std::string_view code) {
    const std::string kernel = directory.write("kernel", payload(code));
    return run({"--kernel", kernel, "--no-cache"});
  };
  const Ending power_off = status(kPowerOff);
  CHECK(power_off.status == 0);
  CHECK(power_off.output.empty());
  CHECK(power_off.errors.empty());
  CHECK(status(kReset).status == 80);
  CHECK(status(kPanic).status == 81);
  const Ending triple_fault = status(kTripleFault);
  CHECK(triple_fault.status == 83);
  CHECK_THAT(triple_fault.errors, StartsWith("error: the guest stopped: triple fault\n"));
  const Ending internal_error = status(kNoMemory);
  CHECK(internal_error.status == 83);
  CHECK_THAT(internal_error.errors, StartsWith("error: KVM could not run the guest any further\n") &&
                                        Contains("rip 00000000c0000000") && Contains("code "));
}

TEST_CASE("cli: the early port is off by default, and transmits only") {
  need_kvm();
  const Directory directory;
  const std::string line = directory.write("line", payload(kEarlyconLine));
  CHECK(run({"--kernel", line, "--no-cache"}).errors.empty());
  CHECK(run({"--kernel", line, "--no-cache", "--earlycon"}).errors == "warning: earlycon: !\n");
  const std::string reads = directory.write("reads", payload(kEarlyconReads));
  CHECK(run({"--kernel", reads, "--no-cache"}).status == 80);
  CHECK(run({"--kernel", reads, "--no-cache", "--earlycon"}).status == 0);
}

TEST_CASE("cli: the root's file system and mode go by the image's magic") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kPowerOff));
  const auto with = [&](std::size_t at, std::string_view magic) {
    std::string image(128 << 10, '\0');
    image.replace(at, magic.size(), magic);
    return run({"-v", "--kernel", kernel, "--no-cache", "--disk", directory.write("image", image)}).errors;
  };
  CHECK_THAT(with(1024, "\xe2\xe1\xf5\xe0"), Contains(" root=/dev/vda rootfstype=erofs ro\n"));
  CHECK_THAT(with(0, "hsqs"), Contains(" root=/dev/vda rootfstype=squashfs ro\n"));
  CHECK_THAT(with(1080, "\x53\xef"), Contains(" root=/dev/vda rootfstype=ext4 rw\n"));
  CHECK_THAT(with(0, "XFSB"), Contains(" root=/dev/vda rootfstype=xfs rw\n"));
  CHECK_THAT(with(65600, "_BHRfS_M"), Contains(" root=/dev/vda rootfstype=btrfs rw\n"));
}

TEST_CASE("[case 161] cli: more memory or CPUs than this machine can give") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kPowerOff));
  const Ending memory = run({"--kernel", kernel, "--no-cache", "--memory=60T"});
  CHECK(memory.status == 65);
  CHECK_THAT(memory.errors, StartsWith("error: --memory 60T: "));
}

TEST_CASE("[case 167] cli: a KVM without what is needed") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kPowerOff));
  const Ending ending = run({"--kernel", kernel, "--no-cache"}, {.before_exec = [] {
                              sock_filter program[] = {
                                  // KVM_CHECK_EXTENSION returns 0, whatever it is asked for.
                                  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
                                  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args) + 8),
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_CHECK_EXTENSION, 0, 1),
                                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
                                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                              };
                              const sock_fprog filter = {.len = 6, .filter = program};
                              ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                              ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
                            }});
  CHECK(ending.status == 69);
  CHECK_THAT(ending.errors, Contains("lacks KVM_CAP_") && Contains("  hint: "));
}

TEST_CASE("cli: -v shows the kernel command line") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kPowerOff));
  CHECK_THAT(run({"-v", "--kernel", kernel, "--cmdline", "more=1"}).errors,
             Contains("kernel command line: console=hvc0 panic=-1 reboot=t more=1\n"));
  CHECK(run({"-v", "-q", "--kernel", kernel}).errors.empty());
}

TEST_CASE("cli: a control socket that a socket unit listens at") {
  if (::access("/dev/kvm", R_OK | W_OK) != 0) uvmm::skip("no access to /dev/kvm");
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kIdle)), path = directory.file("socket");
  const auto as_unit = [&] {
    const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(name.sun_path, sizeof name.sun_path - 1);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&name), sizeof name) < 0 ||
        ::listen(listener, 8) < 0)
      return;
    if (listener != 3) ::dup2(listener, 3);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "1", 1);
    ::setenv("LISTEN_FDNAMES", "control", 1);
  };
  const Process process({"--kernel", kernel, "--name", "unit", "--control", "fd=control"},
                        {.before_exec = as_unit});
  REQUIRE(Process::wait_until([&] { return exists(path); }));
  const Ending said = run({"ctl", path, "status"});
  CHECK(said.status == 0);
  CHECK_THAT(said.output, Catch::Contains("name         unit\n"));
}

TEST_CASE("cli: in the journal each line of a message has its priority, elsewhere none") {
  const auto as_journal = [](ino_t other) {
    return [other] {
      struct stat status{};
      ::fstat(STDERR_FILENO, &status);
      const std::string stream = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino + other);
      ::setenv("JOURNAL_STREAM", stream.c_str(), 1);
    };
  };
  const Ending told = run({"doctor", "-v"}, {.before_exec = as_journal(0)});
  CHECK(told.errors == "<3>error: unexpected argument: -v\n<3>  hint: doctor takes none\n");
  const Ending not_there = run({"doctor", "-v"}, {.before_exec = as_journal(1)});
  CHECK(not_there.errors == "error: unexpected argument: -v\n  hint: doctor takes none\n");
}

TEST_CASE("cli: a log file has it all, with times, and errors are on standard error as well") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kTripleFault));
  const std::string log = directory.write("log", "before\n");
  const Ending ending = run({"-v", "--kernel", kernel, "--log-file", log});
  CHECK_THAT(ending.errors, StartsWith("error: the guest stopped"));
  CHECK_THAT(read_file(log), StartsWith("before\n2"));
  CHECK_THAT(read_file(log), Contains("Z info: kernel command line: "));
  CHECK_THAT(read_file(log), Contains("Z error: the guest stopped"));
  CHECK(run({"--kernel", kernel, "--log-file", "/nonexistent/log"}).status == 73);
}

TEST_CASE("cli: --dry-run checks and starts nothing") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kReset));
  CHECK(run({"--dry-run", "--kernel", kernel}).status == 0);
  const std::string broken = directory.write("broken", "no kernel");
  CHECK(run({"--dry-run", "--kernel", broken}).status == 65);
}

TEST_CASE("cli: --dry-run leaves nothing behind") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kReset));
  const auto files = [&] {
    return std::distance(std::filesystem::directory_iterator(directory.file(".")), {});
  };
  const auto dry_run = [&](const std::string& console) {
    return run({"--dry-run", "--kernel", kernel, "--pidfile", directory.file("pid"), "--log-file",
                directory.file("log"), "--console", console},
               {.before_exec = [&] { ::setenv("XDG_CACHE_HOME", directory.file("cache").c_str(), 1); }});
  };
  CHECK(dry_run("file=" + directory.file("console")).status == 0);
  CHECK(dry_run("unix=" + directory.file("socket")).status == 0);
  CHECK(dry_run("file=/nonexistent/console").status == 73);
  CHECK(files() == 1);  // the kernel
}

TEST_CASE("cli: --dry-run checks the pidfile") {
  need_kvm();
  const Directory directory;
  const std::string kernel = directory.write("kernel", payload(kReset));
  CHECK(run({"--dry-run", "--kernel", kernel, "--pidfile", "/nonexistent/pid"}).status == 73);
  CHECK(run({"--dry-run", "--kernel", kernel, "--pidfile", kernel}).status == 73);
}

TEST_CASE("cli: --print-config with --dry-run prints, then checks") {
  const Ending ending = run({"--print-config", "--dry-run", "--kernel=/nonexistent/k", "--cpus=2"});
  CHECK(ending.status == 66);
  CHECK_THAT(ending.output, Contains("cpus = 2\n"));
  CHECK_THAT(ending.errors, Contains("/nonexistent/k"));
}
