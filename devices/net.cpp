// SPDX-License-Identifier: Apache-2.0
#include "devices/net.h"

#include <algorithm>
#include <cassert>

#include "devices/virtio/spec.h"

namespace uvmm {
namespace {

static_assert(offsetof(virtio_net_config, mtu) == 10);
static_assert(offsetof(virtio_net_config, duplex) == 16);

constexpr u32 kConfigBytes = 17;  // what follows belongs to features that are not offered
constexpr u32 kSpeed = 10'000;    // Mbit/s; what Linux says of a tap
constexpr u8 kFullDuplex = 1;

constexpr u64 kFirstPause = 1'000'000;  // nanoseconds
constexpr u64 kLongestPause = 100'000'000;

// virtio 1.2, 5.1.2: which queue is which.
constexpr u16 pair_of(u16 queue) {
  return queue / 2;
}
constexpr bool is_receive_queue(u16 queue) {
  return queue % 2 == 0;
}

// Of a queue that the control queue starts later.
Task<> nothing() {
  co_return;
}

// Whether it is the frame that the host does not take, so that the next one may fare better.
bool is_about_the_frame(i32 error) {
  return error == -EINVAL || error == -EMSGSIZE || error == -EFAULT;
}

}  // namespace

MacAddress default_mac(std::string_view vm, const NetEnd& end, u32 index) {
  if (const std::optional<MacAddress> only = end.only_mac()) return *only;
  u64 hash = 0xcbf2'9ce4'8422'2325;  // FNV-1a
  const auto add = [&](u8 byte) { hash = (hash ^ byte) * 0x100'0000'01b3; };
  for (const char byte : vm) add(static_cast<u8>(byte));
  add('/');
  for (const char byte : end.interface()) add(static_cast<u8>(byte));
  for (u32 shift = 0; shift < 32; shift += 8) add(static_cast<u8>(index >> shift));
  hash ^= hash >> 32;  // its upper half is the better one
  MacAddress mac{};
  for (u8& byte : mac) {
    byte = static_cast<u8>(hash);
    hash >>= 8;
  }
  mac[0] = static_cast<u8>((mac[0] & ~0x03) | 0x02);  // one device's, and not a manufacturer's
  return mac;
}

Net::Net(Io& io, NetEnd& end, const NetOptions& options, Log& log)
    : VirtioDevice(io),
      end_(end),
      options_(options),
      log_(log),
      queue_sizes_(2 * end.pairs() + 1u, options.queue_size),
      transmitters_(end.pairs()) {
  for (u16 pair = 0; pair < end.pairs(); ++pair)
    receivers_.push_back(std::make_unique<NetReceiver>(io_, end_, pair, options_.name, errors_, log_));
  config_.max_virtqueue_pairs = pairs();
  config_.mtu = options_.mtu;
  config_.speed = kSpeed;
  config_.duplex = kFullDuplex;
  end_.set_link_listener(this);
  reset();
}

u16 Net::device_id() const {
  return VIRTIO_ID_NET;
}

u64 Net::features() const {
  u64 offered = feature(VIRTIO_NET_F_MAC) | feature(VIRTIO_NET_F_STATUS) | feature(VIRTIO_NET_F_MRG_RXBUF) |
                feature(VIRTIO_NET_F_CTRL_VQ) | feature(VIRTIO_NET_F_CTRL_RX) |
                feature(VIRTIO_NET_F_CTRL_RX_EXTRA) | feature(VIRTIO_NET_F_CTRL_MAC_ADDR) |
                feature(VIRTIO_NET_F_GUEST_ANNOUNCE) | feature(VIRTIO_NET_F_SPEED_DUPLEX) | end_.offloads();
  if (end_.offloads() & kNetGuestOffloads) offered |= feature(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
  if (options_.mtu != 0) offered |= feature(VIRTIO_NET_F_MTU);
  if (pairs() > 1) offered |= feature(VIRTIO_NET_F_MQ);
  return offered;
}

std::span<const u8> Net::config() const {
  return {reinterpret_cast<const u8*>(&config_), kConfigBytes};
}

void Net::start(u64 features) {
  negotiated_ = features;
  const Result<void> offloads = end_.set_offloads(features);
  const Result<void> first_pair = end_.set_pairs(1);
  for (const Result<void>* done : {&offloads, &first_pair})
    if (!*done) log_.error("{}: {}", options_.name, done->error().message);
  for (const auto& receiver : receivers_) receiver->discard_old_frames();
  receivers_.front()->switch_on(true);
}

void Net::reset() {
  negotiated_ = 0;
  for (const auto& receiver : receivers_) receiver->reset();
  std::ranges::fill(transmitters_, Transmitter{});
  std::ranges::copy(options_.mac, config_.mac);
  config_.status = link_up() ? VIRTIO_NET_S_LINK_UP : 0;
}

// virtio 1.2, 5.1.2: it comes after the pairs, of which without VIRTIO_NET_F_MQ there is one.
bool Net::is_control_queue(u16 index) const {
  return negotiated(VIRTIO_NET_F_CTRL_VQ) && index == (negotiated(VIRTIO_NET_F_MQ) ? 2 * pairs() : 2);
}

Task<> Net::run(Queue& queue, u16 index) {
  if (is_control_queue(index)) return control(queue);
  const u16 pair = pair_of(index);
  if (pair >= pairs() || (pair > 0 && !negotiated(VIRTIO_NET_F_MQ))) return give_back(queue);
  if (!is_receive_queue(index)) return transmit(queue, pair);
  NetReceiver& receiver = *receivers_[pair];
  receiver.start(negotiated_, queue);
  return pair == 0 ? receive_first() : nothing();
}

Task<> Net::receive_first() {
  TaskScope link;
  link.spawn(end_.watch_link(io_));
  co_await receivers_.front()->run();
  co_await link.drained();
}

// A queue that has no use with the features that were negotiated.
Task<> Net::give_back(Queue& queue) {
  for (;;) {
    const std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) co_return;
  }
}

Task<> Net::transmit(Queue& queue, u16 pair) {
  Transmitter& transmitter = transmitters_[pair];
  TaskScope sends;
  for (;;) {
    std::optional<DescriptorChain> chain = co_await queue.next();
    if (!chain) break;
    // The host may refuse frames for as long as it likes (a tap that is down does): it is asked less and less
    // often then, and meanwhile the driver's queue fills.
    if (transmitter.refused) {
      transmitter.refused = false;
      const u64 pause = std::clamp(transmitter.pause * 2, kFirstPause, kLongestPause);
      transmitter.pause = pause;
      co_await io_.sleep(pause);
    }
    transmitter.bytes_since_yield += chain->readable.size();
    sends.spawn(send(queue, pair, std::move(*chain)));
    if (transmitter.bytes_since_yield < kBytesPerTurn || queue.stopped()) continue;
    transmitter.bytes_since_yield = 0;
    co_await io_.yield();
  }
  co_await sends.drained();
}

Task<> Net::send(Queue& queue, u16 pair, DescriptorChain chain) {  // virtio 1.2, 5.1.6.2
  if (!chain.writable.empty()) {
    log_.guest("{}: a frame in buffers that are to be written to", options_.name);
    queue.mark_broken();
    co_return;
  }
  const auto header = chain.readable.take<virtio_net_hdr_v1>();
  if (!header || chain.readable.has_hole() ||
      !valid_net_header(*header, chain.readable.size(), negotiated_)) {
    errors_.add();
    log_.guest("{}: a frame without a valid header was dropped", options_.name);
    co_return;
  }
  if (!plugged_in_) co_return;
  virtio_net_hdr_v1 passed_on = normal_net_header(*header);
  const std::span<const iovec> frame = chain.readable_behind({&passed_on, sizeof passed_on});
  // A pair that the driver has switched off may still have frames.
  const u16 through = receivers_[pair]->switched_on() ? pair : 0;
  const i32 done = co_await end_.send(io_, through, frame);
  sent(transmitters_[pair], done);
}

void Net::sent(Transmitter& transmitter, i32 done) {
  if (done >= 0) {
    transmitter.pause = 0;
  } else if (done != -ECANCELED) {
    errors_.add();
    if (is_about_the_frame(done)) return;
    if (transmitter.pause == 0) log_.guest("{}: cannot send: {}", options_.name, error_text(-done));
    transmitter.refused = true;
  }
}

void Net::plug_in(bool plugged_in) {
  plugged_in_ = plugged_in;
  for (const auto& receiver : receivers_) receiver->plug_in(plugged_in);
  link_changed();
}

void Net::link_changed() {
  const bool up = link_up();
  const bool was_up = config_.status & VIRTIO_NET_S_LINK_UP;
  if (up == was_up) return;
  config_.status = up ? VIRTIO_NET_S_LINK_UP : 0;
  // virtio 1.2, 5.1.6.5.4: whoever is on the other side now has yet to learn where this guest is.
  if (up && negotiated(VIRTIO_NET_F_GUEST_ANNOUNCE)) config_.status |= VIRTIO_NET_S_ANNOUNCE;
  log_.info("{}: the link is {}", options_.name, up ? "up" : "down");
  config_changed();
}

}  // namespace uvmm
