// SPDX-License-Identifier: Apache-2.0
// Net: the virtio network device (virtio 1.2, 5.1). I/O thread only. Its host end outlives it.
//
// Each receive queue is a NetReceiver. A frame to send is one coroutine. Of several queue pairs the first is
// always served, the others once the driver has switched them on.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devices/net_end.h"
#include "devices/net_header.h"
#include "devices/net_receiver.h"
#include "devices/virtio/device.h"
#include "vmm/base/log.h"

namespace uvmm {

// The address of device `index` of the VM with that name, always the same: the end's, if it has one, else one
// that is locally administered, and another one for each host interface.
MacAddress default_mac(std::string_view vm, const NetEnd& end, u32 index);

struct NetOptions {
  std::string name;  // for messages
  MacAddress mac{};
  u16 mtu = 0;  // 0: not said
  u16 queue_size = 256;
};

class Net final : public VirtioDevice, private NetLinkListener {
 public:
  static constexpr u64 kBytesPerTurn = 512_KiB;  // of a transmit queue

  Net(Io& io, NetEnd& end, const NetOptions& options, Log& log);
  ~Net() override { end_.set_link_listener(nullptr); }

  u16 device_id() const override;
  u64 features() const override;
  std::span<const u16> queue_sizes() const override { return queue_sizes_; }
  std::span<const u8> config() const override;
  void start(u64 features) override;
  Task<> run(Queue& queue, u16 index) override;
  void reset() override;

  // As if the cable were plugged in, or pulled out: then no frame goes either way.
  void plug_in(bool plugged_in);

 private:
  struct Transmitter {
    bool refused = false;  // by the host, since the last attempt began
    u64 pause = 0;         // nanoseconds before the next attempt; 0: the host gave no error lately
    u64 bytes_since_yield = 0;
  };

  u16 pairs() const { return static_cast<u16>(receivers_.size()); }
  bool is_control_queue(u16 index) const;
  bool negotiated(unsigned bit) const { return has_feature(negotiated_, bit); }

  static Task<> give_back(Queue& queue);
  Task<> receive_first();
  Task<> transmit(Queue& queue, u16 pair);
  Task<> send(Queue& queue, u16 pair, DescriptorChain chain);
  void sent(Transmitter& transmitter, i32 done);

  Task<> control(Queue& queue);
  bool execute(Segments& command);
  bool set_receive_mode(u8 command, Segments& data) const;
  bool set_addresses(u8 command, Segments& data);
  bool set_pairs(Segments& data);
  bool set_guest_offloads(Segments& data);

  void link_changed() override;
  bool link_up() const { return plugged_in_ && end_.link_up(); }

  NetEnd& end_;
  const NetOptions options_;
  Log& log_;
  std::vector<u16> queue_sizes_;
  virtio_net_config config_{};
  u64 negotiated_ = 0;
  bool plugged_in_ = true;

  std::vector<std::unique_ptr<NetReceiver>> receivers_;  // one for each pair
  std::vector<Transmitter> transmitters_;
  TaskScope* control_tasks_ = nullptr;  // what the control queue has started
};

}  // namespace uvmm
