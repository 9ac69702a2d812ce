// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/system.h"

#include <fcntl.h>

#include <memory>

#include "vmm/kvm/ioctl.h"

namespace uvmm::kvm {
namespace {

struct Capability {
  int number;
  const char* name;
};

#define UVMM_CAPABILITY(name) {name, #name}
constexpr Capability kNeeded[] = {
    UVMM_CAPABILITY(KVM_CAP_USER_MEMORY),   UVMM_CAPABILITY(KVM_CAP_READONLY_MEM),
    UVMM_CAPABILITY(KVM_CAP_SPLIT_IRQCHIP), UVMM_CAPABILITY(KVM_CAP_IRQ_ROUTING),
    UVMM_CAPABILITY(KVM_CAP_IRQFD),         UVMM_CAPABILITY(KVM_CAP_SIGNAL_MSI),
    UVMM_CAPABILITY(KVM_CAP_IOEVENTFD),     UVMM_CAPABILITY(KVM_CAP_IOEVENTFD_ANY_LENGTH),
    UVMM_CAPABILITY(KVM_CAP_EXT_CPUID),     UVMM_CAPABILITY(KVM_CAP_MP_STATE),
    UVMM_CAPABILITY(KVM_CAP_X2APIC_API),    UVMM_CAPABILITY(KVM_CAP_IMMEDIATE_EXIT),
};
#undef UVMM_CAPABILITY

constexpr int kApiVersion = 12;  // the only one there ever was; the documentation says to refuse others

}  // namespace

Error explain_open_failure(const char* path, int error) {
  Error explained{kind_of_open_error(error), fmt::format("cannot open {}: {}", path, error_text(error)), {}};
  switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      explained.kind = ErrorKind::kUnavailable;
      explained.hint =
          "load the module kvm_intel or kvm_amd, having enabled virtualisation in the firmware; into a "
          "container, pass the device";
      break;
    case EACCES:
      explained.hint = "add yourself to group kvm, then log in again";
      break;
    case EPERM:
      explained.hint = "let the container or the service use the device";
      break;
    case EBUSY:
      explained.hint = "another hypervisor has the processor's virtualisation; end it";
      break;
    default:
      break;
  }
  return explained;
}

Result<System> System::open(const char* path) {
  Fd fd(::open(path, O_RDWR | O_CLOEXEC));
  if (!fd) return std::unexpected(explain_open_failure(path, errno));

  const int version = ::ioctl(fd.get(), KVM_GET_API_VERSION, 0);
  if (version < 0) return fail(ErrorKind::kUnavailable, "{} is not KVM: {}", path, error_text(errno));
  if (version != kApiVersion) {
    return fail(ErrorKind::kUnavailable, "cannot use {}: it speaks version {} of the KVM API, not {}", path,
                version, kApiVersion);
  }
  const int vcpu_mmap_bytes = UVMM_TRY(UVMM_KVM_CALL(fd.get(), KVM_GET_VCPU_MMAP_SIZE, 0));

  System system(std::move(fd), u32(vcpu_mmap_bytes));
  for (const Capability& capability : kNeeded) {
    if (system.check_extension(capability.number) > 0) continue;
    return with_hint(fail(ErrorKind::kUnavailable, "cannot use KVM: this kernel's lacks {}", capability.name),
                     "Linux 5.10 or later has it");
  }
  return system;
}

int System::check_extension(int capability) const {
  return ::ioctl(fd_.get(), KVM_CHECK_EXTENSION, capability);
}

Result<Vm> System::create_vm() const {
  int fd;
  do {
    fd = ::ioctl(fd_.get(), KVM_CREATE_VM, 0);
  } while (fd < 0 && errno == EINTR);
  if (fd >= 0) return Vm(Fd(fd), vcpu_mmap_bytes_);

  // EBUSY is how a processor says that VMX or SVM is switched on by someone else already.
  const int error = errno;
  auto failure = fail(error == EBUSY ? ErrorKind::kBusy : ErrorKind::kHost,
                      "KVM cannot create a virtual machine: {}", error_text(error));
  if (error == EBUSY) failure = with_hint(std::move(failure), explain_open_failure("", error).hint);
  return failure;
}

Result<std::vector<kvm_cpuid_entry2>> System::get_supported_cpuid() const {
  const auto table = std::make_unique_for_overwrite<CpuidTable>();
  table->nent = std::size(table->entries);
  table->padding = 0;
  UVMM_CHECK(UVMM_KVM_CALL(fd_.get(), KVM_GET_SUPPORTED_CPUID, table.get()));
  return std::vector(table->entries, table->entries + table->nent);
}

}  // namespace uvmm::kvm
