// SPDX-License-Identifier: Apache-2.0
// What an owner asks of a machine's devices while it runs.
#include "vmm/machine.h"

namespace uvmm {
namespace {

std::unexpected<Error> no_such_device(std::string_view kind, std::size_t index) {
  return fail(ErrorKind::kNoInput, "there is no {} {}", kind, index);
}

}  // namespace

Result<u64> Machine::resize_disk(std::size_t index) {
  if (index >= disks_.size()) return no_such_device("disk", index);
  const auto [block, embedded] = disks_[index];
  if (state() == State::kCreated)
    return fail(ErrorKind::kBusy, "cannot resize disk {}: the VM does not run yet", block->image().name());
  Result<u64> bytes =
      fail(ErrorKind::kBusy, "cannot resize disk {}: the VM has ended", block->image().name());
  uring_->call([&] {
    bytes = embedded ? embedded->current_bytes() : block->image().current_bytes();
    if (!bytes) return;
    if (const Result<void> grown = block->grow(*bytes); !grown) bytes = std::unexpected(grown.error());
  });
  return bytes;
}

Result<void> Machine::plug_in_net(std::size_t index, bool plugged_in) {
  if (index >= nets_.size()) return no_such_device("network device", index);
  uring_->post([net = nets_[index], plugged_in] { net->plug_in(plugged_in); });
  return {};
}

Result<void> Machine::attach_console(Fd socket) {
  if (!console_end_)
    return with_hint(fail(ErrorKind::kBusy, "this VM has no console"), "start it without `--console off`");
  uring_->post([this, viewer = std::move(socket)]() mutable { console_end_->add_viewer(std::move(viewer)); });
  return {};
}

}  // namespace uvmm
