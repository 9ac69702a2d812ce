// SPDX-License-Identifier: Apache-2.0
// Net's control queue (virtio 1.2, 5.1.6.5).
#include <algorithm>

#include "devices/net.h"

namespace uvmm {
namespace {

struct virtio_net_ctrl_hdr {  // the kernel's has a field `class`
  u8 device_class;
  u8 command;
};
static_assert(sizeof(virtio_net_ctrl_hdr) == 2);

constexpr u32 kMostAddresses = 1024;  // of a filter table; more is no honest driver's

bool is_group_address(const MacAddress& mac) {
  return mac[0] & 1;
}

// A table of addresses, which is checked and skipped: everything is passed on to the driver, whatever it
// filters for.
bool skip_address_table(Segments& data) {
  const auto entries = data.take<le32>();
  if (!entries || *entries > kMostAddresses || data.size() < u64{*entries} * sizeof(MacAddress)) return false;
  data.drop_front(u64{*entries} * sizeof(MacAddress));
  return true;
}

}  // namespace

Task<> Net::control(Queue& queue) {
  TaskScope tasks;
  control_tasks_ = &tasks;
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) break;
    u8* const ack = chain->writable.take_last_byte();
    if (!ack) {
      log_.guest("{}: a control command without a place for its answer", options_.name);
      queue.mark_broken();
      continue;
    }
    const bool done = !chain->readable.has_hole() && execute(chain->readable);
    *ack = done ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
    if (chain->writable.empty()) chain->written = 1;
  }
  control_tasks_ = nullptr;
  co_await tasks.drained();
}

// Whether the command took. What follows its data is an error, too.
bool Net::execute(Segments& command) {
  const auto header = command.take<virtio_net_ctrl_hdr>();
  if (!header) return false;
  switch (header->device_class) {
    case VIRTIO_NET_CTRL_RX:
      return set_receive_mode(header->command, command);
    case VIRTIO_NET_CTRL_MAC:
      return set_addresses(header->command, command);
    case VIRTIO_NET_CTRL_ANNOUNCE:
      if (header->command != VIRTIO_NET_CTRL_ANNOUNCE_ACK || !negotiated(VIRTIO_NET_F_GUEST_ANNOUNCE))
        return false;
      config_.status &= static_cast<u16>(~VIRTIO_NET_S_ANNOUNCE);
      config_changed();
      return true;
    case VIRTIO_NET_CTRL_MQ:
      return header->command == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && set_pairs(command);
    case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
      return header->command == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET && set_guest_offloads(command);
    default:
      return false;
  }
}

// virtio 1.2, 5.1.6.5.1: filters may let through more than they were asked to, and ours let through all.
bool Net::set_receive_mode(u8 command, Segments& data) const {
  const bool is_extra = command >= VIRTIO_NET_CTRL_RX_ALLUNI;
  if (command > VIRTIO_NET_CTRL_RX_NOBCAST ||
      !negotiated(is_extra ? VIRTIO_NET_F_CTRL_RX_EXTRA : VIRTIO_NET_F_CTRL_RX))
    return false;
  return data.take<u8>() && data.empty();
}

bool Net::set_addresses(u8 command, Segments& data) {
  if (command == VIRTIO_NET_CTRL_MAC_TABLE_SET && negotiated(VIRTIO_NET_F_CTRL_RX))
    return skip_address_table(data) && skip_address_table(data) && data.empty();
  if (command != VIRTIO_NET_CTRL_MAC_ADDR_SET || !negotiated(VIRTIO_NET_F_CTRL_MAC_ADDR)) return false;
  const auto mac = data.take<MacAddress>();
  if (!mac || !data.empty() || is_group_address(*mac)) return false;
  std::ranges::copy(*mac, config_.mac);
  config_changed();
  return true;
}

// virtio 1.2, 5.1.6.5.5.
bool Net::set_pairs(Segments& data) {
  const auto wanted = data.take<le16>();
  if (!wanted || !data.empty() || !negotiated(VIRTIO_NET_F_MQ) || *wanted == 0 || *wanted > pairs())
    return false;
  if (const Result<void> done = end_.set_pairs(*wanted); !done) {
    log_.error("{}: {}", options_.name, done.error().message);
    return false;
  }
  for (u16 pair = 0; pair < pairs(); ++pair) {
    NetReceiver& receiver = *receivers_[pair];
    receiver.switch_on(pair < *wanted);
    if (receiver.can_run()) control_tasks_->spawn(receiver.run());
  }
  return true;
}

// virtio 1.2, 5.1.6.5.6.
bool Net::set_guest_offloads(Segments& data) {
  const auto wanted = data.take<le64>();
  if (!wanted || !data.empty() || !negotiated(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
      (*wanted & ~(negotiated_ & kNetGuestOffloads)) != 0)
    return false;
  const u64 features = (negotiated_ & ~kNetGuestOffloads) | *wanted;
  if (const Result<void> done = end_.set_offloads(features); !done) {
    log_.error("{}: {}", options_.name, done.error().message);
    return false;
  }
  for (const auto& receiver : receivers_) receiver->set_offloads(features);
  return true;
}

}  // namespace uvmm
