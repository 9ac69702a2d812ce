// SPDX-License-Identifier: Apache-2.0
#include "devices/power_button.h"

#include <linux/input-event-codes.h>
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_io.h"

namespace uvmm {
namespace {

struct Fixture {
  Fixture() {
    tasks.spawn(button.run(events.queue, PowerButton::kEventQueue));
    tasks.spawn(button.run(status.queue, PowerButton::kStatusQueue));
  }
  ~Fixture() {
    events.queue.stop();
    status.queue.stop();
    while (!io.empty()) io.finish_all(-ECANCELED);
    CHECK(tasks.empty());
  }
  std::vector<GuestAddress> post(int buffers, u32 bytes = sizeof(virtio_input_event)) {
    std::vector<GuestAddress> at;
    for (int i = 0; i < buffers; ++i) at.push_back(event_driver.chain().writes(bytes).offer()[0]);
    events.queue.notify();
    io.end_turn();
    return at;
  }
  virtio_input_config select(u8 select, u8 subsel) {
    button.write_config(0, {&select, 1});
    button.write_config(1, {&subsel, 1});
    virtio_input_config config;
    std::memcpy(&config, button.config().data(), sizeof config);
    return config;
  }

  FakeIo io;
  Log log{{}, LogLevel::kDebug};
  FakeDriver event_driver{PowerButton::kQueueSize};
  FakeDriver status_driver{PowerButton::kQueueSize};
  PowerButton button{io, log};
  FakeQueue events{button.io(), event_driver};
  FakeQueue status{button.io(), status_driver};
  TaskScope tasks;
};

TEST_CASE("power button: a press is four events in four buffers") {
  Fixture f;
  const auto at = f.post(4);
  REQUIRE(f.button.press());
  f.io.end_turn();
  const auto is = [&](int i, u16 type, u16 code, u32 value) {
    const auto event = *f.event_driver.memory.read<virtio_input_event>(at[i]);
    return event.type == type && event.code == code && event.value == value;
  };
  for (int i = 0; i < 4; ++i) CHECK(f.event_driver.take_used()->len == 8);
  CHECK(is(0, EV_KEY, KEY_POWER, 1));
  CHECK(is(1, EV_SYN, SYN_REPORT, 0));
  CHECK(is(2, EV_KEY, KEY_POWER, 0));
  CHECK(is(3, EV_SYN, SYN_REPORT, 0));
}

TEST_CASE("power button: without a driver that listens nothing is pressed") {
  Fixture f;
  CHECK_FALSE(f.button.press());
  f.post(3);  // too few for all of it
  CHECK_FALSE(f.button.press());
  CHECK_FALSE(f.event_driver.take_used());
}

TEST_CASE("power button: buffers that no event fits into come back empty") {
  Fixture f;
  f.post(4, 7);
  for (int i = 0; i < 4; ++i) CHECK(f.event_driver.take_used()->len == 0);
  CHECK_FALSE(f.button.press());
}

TEST_CASE("[case 13] power button: a buffer outside of RAM gets nothing") {
  Fixture f;
  f.event_driver.chain().writes_at(FakeRam::kEnd - 4, 8).offer();
  f.post(3);
  CHECK_FALSE(f.button.press());
}

TEST_CASE("power button: what the driver sends is taken and forgotten") {
  Fixture f;
  f.status_driver.chain().reads(virtio_input_event{EV_LED, 0, 1}).offer();
  f.status.queue.notify();
  f.io.end_turn();
  CHECK(f.status_driver.take_used()->len == 0);
}

TEST_CASE("power button: the configuration has a name and one key") {
  Fixture f;
  const auto name = f.select(VIRTIO_INPUT_CFG_ID_NAME, 0);
  CHECK(std::string_view(name.u.string, name.size) == "Power Button");
  const auto keys = f.select(VIRTIO_INPUT_CFG_EV_BITS, EV_KEY);
  REQUIRE(keys.size == 15);
  for (int bit = 0; bit < 128 * 8; ++bit) {
    CHECK((keys.u.bitmap[bit / 8] >> (bit % 8) & 1) == (bit == KEY_POWER));
  }
  CHECK(f.select(VIRTIO_INPUT_CFG_ID_DEVIDS, 0).size == 8);
}

TEST_CASE("[case 49] power button: what is not there has size 0, and only the selectors can be written") {
  Fixture f;
  CHECK(f.select(VIRTIO_INPUT_CFG_EV_BITS, EV_REL).size == 0);
  CHECK(f.select(VIRTIO_INPUT_CFG_ID_NAME, 1).size == 0);
  CHECK(f.select(0xff, 0xff).size == 0);
  f.select(VIRTIO_INPUT_CFG_ID_NAME, 0);
  const std::vector<u8> ones(134, 0xff);
  f.button.write_config(2, ones);
  CHECK(f.button.config()[2] == 12);
  CHECK(f.button.config()[8] == 'P');
}

}  // namespace
}  // namespace uvmm
