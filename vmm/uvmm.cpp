// SPDX-License-Identifier: Apache-2.0
#include <uvmm/uvmm.hpp>

#include "vmm/machine.h"

namespace uvmm {

Result<Vm> Vm::create(Config config, Callbacks callbacks) {
  if (Result<void> checked = check(config); !checked) return std::unexpected(std::move(checked.error()));
  auto machine = Machine::create(config, std::move(callbacks));
  if (!machine) return std::unexpected(std::move(machine.error()));
  return Vm(std::move(*machine));
}

Vm::Vm(std::unique_ptr<Machine> machine) : machine_(std::move(machine)) {}
Vm::Vm(Vm&&) noexcept = default;
Vm& Vm::operator=(Vm&&) noexcept = default;
Vm::~Vm() = default;

Outcome Vm::run() {
  return machine_->run();
}
void Vm::shut_down(std::optional<std::chrono::milliseconds> deadline) {
  machine_->shut_down(deadline);
}
void Vm::stop() {
  machine_->stop();
}
void Vm::resize_console(std::uint16_t columns, std::uint16_t rows) {
  machine_->resize_console(columns, rows);
}
std::string_view Vm::cmdline() const {
  return machine_->cmdline();
}
ExitCounts Vm::exits() const {
  return machine_->exits();
}

}  // namespace uvmm
