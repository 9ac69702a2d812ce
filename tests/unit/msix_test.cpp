// SPDX-License-Identifier: Apache-2.0
#include "devices/pci/msix.h"

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/fakes/fake_io.h"

namespace uvmm {
namespace {

// Takes messages to any address but one, and like the real one drops what came with a refused one.
struct RefusingRouter final : MsiRouter {
  Result<InterruptLine> add_line() override {
    if (refuses_lines) return fail(ErrorKind::kHost, "no more descriptors");
    ++lines;
    return InterruptLine{9 + lines, 99 + static_cast<int>(lines)};
  }
  void route(u32 gsi, const MsiMessage& message) override {
    routes[gsi] = changes[gsi] = message;
    ++routed;
  }
  bool commit() override {
    ++commits;
    bool accepted = true;
    for (const auto& [gsi, message] : changes) accepted = accepted && message.address != refused_address;
    for (const auto& [gsi, message] : std::exchange(changes, {})) {
      committed.erase(gsi);
      if (accepted) committed[gsi] = message;
    }
    return accepted;
  }

  bool refuses_lines = false;
  u32 lines = 0;
  u64 refused_address = ~u64{0} - 1;
  std::map<u32, MsiMessage> routes, changes, committed;
  u32 routed = 0;
  u32 commits = 0;
};

// With three vectors, none of which is claimed.
struct UnclaimedFunction {
  ~UnclaimedFunction() { io.finish_all(8); }

  void write32(u32 offset, u32 value) {
    msix.write_table(offset, {reinterpret_cast<const u8*>(&value), sizeof value});
  }
  void set_up(u16 vector, u64 address, u32 data) {
    write32(vector * 16, static_cast<u32>(address));
    write32(vector * 16 + 4, static_cast<u32>(address >> 32));
    write32(vector * 16 + 8, data);
  }
  void mask(u16 vector) { write32(vector * 16 + 12, 1); }
  void unmask(u16 vector) { write32(vector * 16 + 12, 0); }
  u32 table32(u32 offset) const {
    u32 value;
    std::memcpy(&value, table.data() + offset, sizeof value);
    return value;
  }
  u8 pending() const {
    u8 bits;
    msix.read_pba(0, {&bits, 1});
    return bits;
  }

  std::vector<std::string> lines_logged;
  Log log{[this](LogLevel, std::string_view line) { lines_logged.emplace_back(line); }, LogLevel::kWarning};
  FakeIo io;
  RefusingRouter router;
  std::array<u8, 48> table{};
  const std::string name = "card";
  Msix msix{{.io = io, .router = router, .log = log, .name = name, .table = table}};
};

// Their lines are 10, 11, 12, with the eventfds 100, 101, 102.
struct Function : UnclaimedFunction {
  Function() {
    for (u16 vector = 0; vector < 3; ++vector) msix.claim(vector);
  }
};

TEST_CASE("msix: a vector that nobody claims has no line and no route") {
  UnclaimedFunction f;
  f.msix.set_control(true, false);
  f.set_up(1, 0xfee0'0000, 7);
  f.unmask(1);
  CHECK(f.router.lines == 0);
  CHECK(f.router.routed == 0);
}

TEST_CASE("msix: a vector is claimed once, before it is unmasked or after") {
  UnclaimedFunction f;
  f.msix.set_control(true, false);
  CHECK(f.msix.claim(1));
  for (const u16 vector : {1, 2}) {
    f.set_up(vector, 0xfee0'0000, vector);
    f.unmask(vector);
  }
  CHECK(f.msix.claim(2));
  CHECK(f.msix.claim(1));
  CHECK(f.router.lines == 2);
  CHECK(f.router.committed.at(10).data == 1);
  CHECK(f.router.committed.at(11).data == 2);
  f.msix.raise(2);
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.pending(0).fd == 101);
}

TEST_CASE("msix: [case 38] a vector that is not there cannot be claimed") {
  UnclaimedFunction f;
  CHECK_FALSE(f.msix.claim(3));
  CHECK_FALSE(f.msix.claim(0xffff));
  CHECK(f.router.lines == 0);
}

TEST_CASE("msix: a vector for which the host has no line can be claimed later") {
  UnclaimedFunction f;
  f.msix.set_control(true, false);
  f.unmask(0);
  f.router.refuses_lines = true;
  CHECK_FALSE(f.msix.claim(0));
  CHECK(f.router.commits == 0);
  CHECK(f.lines_logged == std::vector<std::string>{"card: interrupt 0 cannot be had: no more descriptors"});
  f.router.refuses_lines = false;
  CHECK(f.msix.claim(0));
  CHECK(f.router.commits == 1);
}

TEST_CASE("msix: vectors start masked and without a route") {
  Function f;
  CHECK(f.table32(12) == 1);
  CHECK(f.table32(44) == 1);
  f.msix.set_control(true, false);
  CHECK(f.router.routed == 0);
}

TEST_CASE("msix: a vector is routed when it is unmasked, once for its three words") {
  Function f;
  f.msix.set_control(true, false);
  f.set_up(1, 0x1'fee0'1000, 0x4022);
  CHECK(f.router.routed == 0);
  f.unmask(1);
  CHECK(f.router.commits == 1);
  CHECK(f.router.routes.at(11) == MsiMessage{0x1'fee0'1000, 0x4022});
}

TEST_CASE("msix: [case 41] masking and unmasking without a change costs no route") {
  Function f;
  f.msix.set_control(true, false);
  f.set_up(0, 0xfee0'0000, 1);
  for (int i = 0; i < 1'000'000; ++i) {
    f.unmask(0);
    f.mask(0);
  }
  CHECK(f.router.routed == 1);
}

TEST_CASE("msix: vectors that were unmasked under the function's mask are routed in one call") {
  Function f;
  f.msix.set_control(true, true);
  for (u16 vector = 0; vector < 3; ++vector) {
    f.set_up(vector, 0xfee0'0000, vector);
    f.unmask(vector);
  }
  CHECK(f.router.routed == 0);
  f.msix.set_control(true, false);
  CHECK(f.router.routed == 3);
  CHECK(f.router.commits == 1);
}

TEST_CASE("msix: raising writes to the vector's eventfd") {
  Function f;
  f.msix.set_control(true, false);
  f.unmask(2);
  f.msix.raise(2);
  REQUIRE(f.io.size() == 1);
  CHECK(f.io.pending(0).kind == Op::Kind::kWrite);
  CHECK(f.io.pending(0).fd == 102);
  CHECK(f.io.bytes_of(0) == std::vector<u8>{1, 0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("msix: what is raised while the write is in flight is written once more") {
  Function f;
  f.msix.set_control(true, false);
  f.unmask(0);
  for (int i = 0; i < 3; ++i) f.msix.raise(0);
  CHECK(f.io.size() == 1);
  f.io.finish(0, 8);
  CHECK(f.io.size() == 1);
  f.io.finish(0, 8);
  CHECK(f.io.empty());
}

TEST_CASE("msix: an interrupt that the host has no memory for is raised again, but not for ever") {
  Function f;
  f.msix.set_control(true, false);
  f.unmask(0);
  f.msix.raise(0);
  f.io.finish(0, -ENOMEM);
  REQUIRE(f.io.size() == 1);
  f.io.finish(0, 8);
  CHECK(f.io.empty());
  f.msix.raise(0);
  for (int i = 0; i < 100; ++i) {
    REQUIRE(f.io.size() == 1);
    f.io.finish(0, -ENOMEM);
  }
  CHECK(f.io.empty());
}

TEST_CASE("msix: what is raised while the write is in flight waits if its vector is masked by then") {
  Function f;
  f.msix.set_control(true, false);
  f.unmask(0);
  f.msix.raise(0);
  f.msix.raise(0);
  f.mask(0);
  f.io.finish(0, 8);
  CHECK(f.io.empty());
  CHECK(f.pending() == 0b001);
  f.unmask(0);
  CHECK(f.io.size() == 1);
}

TEST_CASE("msix: a masked vector is pending until it is unmasked") {
  Function f;
  f.msix.set_control(true, false);
  f.msix.raise(1);
  f.msix.raise(1);
  CHECK(f.pending() == 0b010);
  CHECK(f.io.empty());
  f.unmask(1);
  CHECK(f.pending() == 0);
  CHECK(f.io.size() == 1);
}

TEST_CASE("msix: the function's mask holds back all vectors") {
  Function f;
  f.msix.set_control(true, true);
  f.unmask(0);
  f.unmask(2);
  f.msix.raise(0);
  f.msix.raise(2);
  CHECK(f.pending() == 0b101);
  f.msix.set_control(true, false);
  CHECK(f.io.size() == 2);
}

TEST_CASE("msix: nothing is raised while it is off, or for a vector that is not there") {
  Function f;
  f.unmask(0);
  f.msix.raise(0);
  f.msix.set_control(true, false);
  f.msix.raise(3);
  f.msix.raise(0xffff);
  CHECK(f.io.empty());
  CHECK(f.pending() == 0);
}

TEST_CASE("msix: eight bytes at once are as good as two times four") {
  Function f;
  f.msix.set_control(true, false);
  const std::array<u8, 8> data{0x21, 0x40, 0, 0, 0, 0, 0, 0};
  f.write32(0, 0xfee0'0000);
  f.msix.write_table(8, data);
  CHECK(f.router.routes.at(10) == MsiMessage{0xfee0'0000, 0x4021});
}

TEST_CASE("msix: a change to a vector that is not masked is routed at once") {
  Function f;
  f.msix.set_control(true, false);
  f.unmask(0);
  f.write32(8, 0x55);
  CHECK(f.router.routes.at(10).data == 0x55);
}

TEST_CASE("msix: [case 39] other widths, unaligned accesses and what is past the end are dropped") {
  Function f;
  const std::array<u8, 48> before = f.table;
  const std::array<u8, 8> ones{255, 255, 255, 255, 255, 255, 255, 255};
  for (const u32 length : {1, 2, 3, 5, 6, 7}) f.msix.write_table(0, std::span(ones).first(length));
  f.msix.write_table(2, std::span(ones).first(4));
  f.msix.write_table(4, ones);
  f.msix.write_table(48, std::span(ones).first(4));
  f.msix.write_table(8184, ones);
  CHECK(f.table == before);
  std::array<u8, 8> bits = ones;
  f.msix.read_pba(8, bits);
  CHECK(bits == std::array<u8, 8>{});
}

TEST_CASE("msix: reserved bits of a vector's control read as zero") {
  Function f;
  f.write32(12, 0xffff'fffe);
  CHECK(f.table32(12) == 0);
}

TEST_CASE(
    "msix: [case 40] a message that the host refuses is said once, and tried again when it is unmasked") {
  Function f;
  f.router.refused_address = 0x1000;
  f.msix.set_control(true, false);
  f.set_up(1, 0x1000, 7);
  f.unmask(1);
  CHECK(f.router.commits == 1);
  for (int i = 0; i < 3; ++i) {
    f.mask(1);
    f.unmask(1);
  }
  CHECK(f.router.commits == 4);
  CHECK(f.lines_logged ==
        std::vector<std::string>{"card: the host refuses the message of interrupt 1, 0x7 to "
                                 "address 0x1000; no other is reported"});
}

TEST_CASE("msix: [case 40] after a refusal the message from before is routed again") {
  Function f;
  f.router.refused_address = 0x1000;
  f.msix.set_control(true, false);
  f.set_up(1, 0xfee0'0000, 7);
  f.unmask(1);
  f.write32(16, 0x1000);
  f.write32(16, 0xfee0'0000);
  CHECK(f.router.committed.at(11) == MsiMessage{0xfee0'0000, 7});
}

TEST_CASE("msix: [case 40] of messages that are refused together, the good ones are routed") {
  Function f;
  f.router.refused_address = 0x1000;
  f.msix.set_control(true, true);
  for (u16 vector = 0; vector < 3; ++vector) {
    f.set_up(vector, vector == 1 ? 0x1000 : 0xfee0'0000, vector);
    f.unmask(vector);
  }
  f.msix.set_control(true, false);
  CHECK(f.router.committed.at(10).data == 0);
  CHECK_FALSE(f.router.committed.contains(11));
  CHECK(f.router.committed.at(12).data == 2);
  CHECK(f.lines_logged.size() == 1);
}

TEST_CASE("msix: [case 40] any message is handed on, and the device goes on") {
  Function f;
  f.msix.set_control(true, false);
  for (const u64 address : {u64{0}, u64{0x1000}, ~u64{0}}) {
    f.mask(0);
    f.set_up(0, address, ~0u);
    f.unmask(0);
    CHECK(f.router.routes.at(10).address == address);
  }
  f.msix.raise(0);
  CHECK(f.io.size() == 1);
}

}  // namespace
}  // namespace uvmm
