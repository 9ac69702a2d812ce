// SPDX-License-Identifier: Apache-2.0
#include <uvmm/uvmm.hpp>

#include "vmm/machine.h"
#include "vmm/machine_thread.h"

namespace uvmm {

Result<Vm> Vm::create(Config config, Callbacks callbacks) {
  if (Result<void> checked = check(config); !checked) return std::unexpected(std::move(checked.error()));
  auto machine = Machine::create(config, std::move(callbacks));
  if (!machine) return std::unexpected(std::move(machine.error()));
  return Vm(std::move(*machine));
}

Vm::Vm(std::unique_ptr<Machine> machine) : machine_(std::move(machine)) {}
Vm::Vm(Vm&&) noexcept = default;
Vm& Vm::operator=(Vm&& other) noexcept {
  thread_ = std::move(other.thread_);  // before the machine that it runs
  machine_ = std::move(other.machine_);
  return *this;
}
Vm::~Vm() = default;

Outcome Vm::run() {
  Outcome outcome = machine_->run();
  machine_->announce_end();
  return outcome;
}
Result<void> Vm::start() {
  thread_ = UVMM_TRY(MachineThread::start(*machine_));
  return {};
}
Outcome Vm::wait() {
  return thread_->wait();
}
std::optional<Outcome> Vm::wait_for(std::chrono::milliseconds time) {
  return thread_->wait_for(time);
}
void Vm::pause() {
  machine_->pause();
}
void Vm::resume() {
  machine_->resume();
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
std::size_t Vm::send_console_input(std::string_view bytes) {
  return machine_->send_console_input(bytes);
}
Result<int> Vm::connect_vsock(std::uint32_t port) {
  return machine_->connect_vsock(port);
}
void Vm::set_balloon(std::uint64_t bytes) {
  machine_->set_balloon(bytes);
}
MemoryStatistics Vm::memory_statistics() {
  return machine_->memory_statistics();
}
std::uint64_t Vm::balloon_bytes() const {
  return machine_->balloon_bytes();
}
Result<std::uint64_t> Vm::resize_disk(std::size_t index) {
  return machine_->resize_disk(index);
}
Result<void> Vm::plug_in_net(std::size_t index, bool plugged_in) {
  return machine_->plug_in_net(index, plugged_in);
}
Result<void> Vm::attach_console(int socket) {
  return machine_->attach_console(Fd(socket));
}
void Vm::set_log_level(LogLevel level) {
  machine_->set_log_level(level);
}
std::string_view Vm::cmdline() const {
  return machine_->cmdline();
}
State Vm::state() const {
  return machine_->state();
}
Statistics Vm::statistics() const {
  return machine_->statistics();
}
int Vm::end_fd() const {
  return machine_->end_fd();
}
ExitCounts Vm::exits() const {
  return machine_->exits();
}

}  // namespace uvmm
