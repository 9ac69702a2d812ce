// SPDX-License-Identifier: Apache-2.0
#include "vmm/command/doctor.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <uvmm/probe.hpp>

#include "vmm/command/failure.h"
#include "vmm/command/values.h"

namespace uvmm::command {
namespace {

using Verdict = Finding::Verdict;

constexpr int kKvmApi = 12;  // the only one since Linux 2.6.22
// Named here since the headers of Debian 12 may be older than the kernel.
constexpr unsigned kSingleIssuer = 1U << 12;  // IORING_SETUP_SINGLE_ISSUER, Linux 6.0
constexpr unsigned kDeferTaskrun = 1U << 13;  // IORING_SETUP_DEFER_TASKRUN, Linux 6.1

Finding check_kvm_device() {
  Finding finding{.subject = "/dev/kvm", .required = true};
  const int kvm = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) {
    finding.verdict = Verdict::kMissing;
    finding.text = error_text(errno);
    finding.hint = errno == EACCES
                       ? "add yourself to group kvm, then log in again"
                       : "load kvm_intel or kvm_amd; in a VM or container, let its host pass KVM on";
    return finding;
  }
  const int api = ::ioctl(kvm, KVM_GET_API_VERSION, 0);
  ::close(kvm);
  finding.text = fmt::format("API {}", api);
  if (api != kKvmApi) finding.verdict = Verdict::kMissing;
  return finding;
}

Finding check_kvm_mode() {
  KvmProbe probe = probe_kvm();
  const bool runs = probe.verdict == KvmProbe::Verdict::kRunsKernels;
  return {.verdict = runs ? Verdict::kOk : Verdict::kMissing,
          .subject = "guest kernels",
          .text = std::move(probe.reason),
          .hint = std::move(probe.hint),
          .required = true};
}

Finding check_io_uring() {
  Finding finding{.subject = "io_uring", .required = true};
  io_uring_params parameters{};
  parameters.flags = kSingleIssuer | kDeferTaskrun;
  const long ring = ::syscall(SYS_io_uring_setup, 8, &parameters);
  if (ring >= 0) {
    ::close(static_cast<int>(ring));
    finding.text = "with deferred task work";
    return finding;
  }
  finding.verdict = Verdict::kMissing;
  finding.text = error_text(errno);
  finding.hint = errno == EPERM
                     ? "sysctl kernel.io_uring_disabled=0, and let a container's seccomp profile allow it"
                 : errno == EINVAL ? "Linux 6.1 or later is needed"
                                   : "a kernel with CONFIG_IO_URING is needed";
  return finding;
}

Finding check_tap() {
  Finding finding{.subject = "tap"};
  const int tun = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (tun >= 0) {
    ::close(tun);
    finding.text = "/dev/net/tun can be opened";
    return finding;
  }
  finding.verdict = Verdict::kMissing;
  finding.text = fmt::format("/dev/net/tun: {}", error_text(errno));
  finding.hint = errno == EACCES ? "ask for access to /dev/net/tun" : "modprobe tun";
  return finding;
}

Finding check_memlock() {
  Finding finding{.subject = "locked memory"};
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  finding.text = limit.rlim_cur == RLIM_INFINITY
                     ? "unlimited"
                     : fmt::format("{} KiB; guest memory is never locked", limit.rlim_cur / 1024);
  return finding;
}

// The first bytes of a small file; empty if it cannot be read.
std::string read_line(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[128];
  const ssize_t size = ::read(fd, text, sizeof(text));
  ::close(fd);
  std::string line(text, size > 0 ? static_cast<std::size_t>(size) : 0);
  return line.substr(0, line.find('\n'));
}

Finding check_transparent_huge_pages() {
  Finding finding{.subject = "transparent huge pages"};
  finding.text = read_line("/sys/kernel/mm/transparent_hugepage/enabled");
  if (finding.text.empty()) finding.text = "not in this kernel";
  const bool enabled = finding.text.find("[always]") != std::string::npos ||
                       finding.text.find("[madvise]") != std::string::npos;
  if (!enabled) {
    finding.verdict = Verdict::kWarning;
    finding.hint = "VMs run without, but slower: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
  }
  return finding;
}

Finding check_huge_page_pool() {
  Finding finding{.subject = "huge page pool"};
  const std::string pages = read_line("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
  std::uint64_t number = 0;
  if (!parse_number(pages, UINT64_MAX, number).empty() || number == 0) {
    finding.verdict = Verdict::kWarning;
    finding.text = "no free pages of 2 MiB; only --memory SIZE,hugepages needs them";
    finding.hint = "sysctl vm.nr_hugepages=256 reserves 512 MiB";
    return finding;
  }
  finding.text = fmt::format("{} free pages of 2 MiB", number);
  return finding;
}

Finding check_cache() {
  Finding finding{.subject = "kernel cache"};
  const char* const cache = ::secure_getenv("XDG_CACHE_HOME");
  const char* const home = ::secure_getenv("HOME");
  std::string directory;
  if (cache && *cache == '/') {
    directory = fmt::format("{}/uvmm", cache);
  } else if (home && *home == '/') {
    directory = fmt::format("{}/.cache/uvmm", home);
  } else {
    finding.verdict = Verdict::kWarning;
    finding.text = "neither XDG_CACHE_HOME nor HOME is set: every start unpacks its kernel anew";
    return finding;
  }
  finding.text = directory;
  // What is not there yet will be made; its nearest parent says whether that can be done.
  while (::access(directory.c_str(), F_OK) < 0 && directory.size() > 1) {
    directory.resize(std::max<std::size_t>(directory.rfind('/'), 1));
  }
  if (::access(directory.c_str(), W_OK | X_OK) < 0) {
    finding.verdict = Verdict::kWarning;
    finding.text += fmt::format(": {}: every start unpacks its kernel anew", error_text(errno));
  }
  return finding;
}

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kWarning:
      return "warning";
    case Verdict::kMissing:
      break;
  }
  return "missing";
}

}  // namespace

std::vector<Finding> examine_machine() {
  return {check_kvm_device(),     check_kvm_mode(),
          check_io_uring(),       check_tap(),
          check_memlock(),        check_transparent_huge_pages(),
          check_huge_page_pool(), check_cache()};
}

std::string report(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<8} {}: {}\n", verdict_name(finding.verdict), finding.subject, finding.text);
    if (!finding.hint.empty()) text += fmt::format("           hint: {}\n", finding.hint);
  }
  const bool can_run = exit_status(findings) == 0;
  return text + (can_run ? "A VM can run here.\n" : "No VM can run here.\n");
}

int exit_status(const std::vector<Finding>& findings) {
  const bool can_run = std::ranges::none_of(findings, [](const Finding& finding) {
    return finding.required && finding.verdict == Verdict::kMissing;
  });
  return can_run ? 0 : static_cast<int>(ErrorKind::kUnavailable);
}

}  // namespace uvmm::command
