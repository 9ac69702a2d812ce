// SPDX-License-Identifier: Apache-2.0
#include "devices/fuse/session.h"

#include <catch2/catch.hpp>

namespace uvmm::fuse {
namespace {

constexpr u64 kEverything = ~u64{0};

// By the bits of <linux/fuse.h>, so that a flag more or less is seen: what every session has.
constexpr u64 kAlways = u64{1} << 0 |   // ASYNC_READ
                        u64{1} << 1 |   // POSIX_LOCKS
                        u64{1} << 3 |   // ATOMIC_O_TRUNC
                        u64{1} << 5 |   // BIG_WRITES
                        u64{1} << 6 |   // DONT_MASK
                        u64{1} << 10 |  // FLOCK_LOCKS
                        u64{1} << 13 |  // DO_READDIRPLUS
                        u64{1} << 14 |  // READDIRPLUS_AUTO
                        u64{1} << 15 |  // ASYNC_DIO
                        u64{1} << 18 |  // PARALLEL_DIROPS
                        u64{1} << 22 |  // MAX_PAGES
                        u64{1} << 27 |  // SUBMOUNTS
                        u64{1} << 28 |  // HANDLE_KILLPRIV_V2
                        u64{1} << 29 |  // SETXATTR_EXT
                        u64{1} << 30;   // INIT_EXT
constexpr u64 kAutoInvalData = u64{1} << 12;
constexpr u64 kWriteback = u64{1} << 16;
constexpr u64 kAccessLists = u64{1} << 20;
constexpr u64 kCacheSymlinks = u64{1} << 23;
constexpr u64 kMmapOfDirect = u64{1} << 36;

fuse_init_in offer_of(u64 flags, u32 major = 7, u32 minor = 38) {
  return {.major = major,
          .minor = minor,
          .max_readahead = 131'072,
          .flags = static_cast<u32>(flags),
          .flags2 = static_cast<u32>(flags >> 32)};
}

Share share_with(Caching caching, bool writeback, bool mapped) {
  Share share;
  share.options.caching = caching;
  share.options.writeback = writeback;
  share.owners = mapped ? Owners::mapped({}, std::nullopt) : Owners::pass_through();
  return share;
}

TEST_CASE("session: of a guest that offers everything, it takes what the share's options say, and no more") {
  const struct {
    Caching caching;
    u64 flags;
  } kinds[] = {{Caching::kNever, kAlways | kMmapOfDirect},
               {Caching::kAuto, kAlways | kAutoInvalData | kCacheSymlinks},
               {Caching::kAlways, kAlways | kCacheSymlinks}};
  for (const auto& kind : kinds) {
    for (const bool writeback : {false, true}) {
      for (const bool mapped : {false, true}) {
        INFO(static_cast<int>(kind.caching) << ' ' << writeback << ' ' << mapped);
        Session session;
        const auto answer =
            session.negotiate(offer_of(kEverything), share_with(kind.caching, writeback, mapped));
        REQUIRE(answer);
        const u64 expected = kind.flags | (writeback ? kWriteback : 0) | (mapped ? 0 : kAccessLists);
        CHECK((u64{answer->flags2} << 32 | answer->flags) == expected);
        for (u32 bit = 0; bit < 64; ++bit) CHECK(session.has(u64{1} << bit) == ((expected >> bit & 1) != 0));
        CHECK(answer->major == 7);
        CHECK(answer->minor == 39);
        CHECK(answer->max_write == 1024 * 1024);
        CHECK(answer->max_pages == 256);
        CHECK(answer->max_readahead == 131'072);
        CHECK(answer->time_gran == 1);
        CHECK(answer->max_background == 64);
        CHECK(answer->congestion_threshold == 48);
        CHECK(answer->map_alignment == 0);
      }
    }
  }
}

TEST_CASE("session: it takes nothing that the guest does not offer") {
  const Share share = share_with(Caching::kAuto, true, false);
  Session session;
  CHECK(session.negotiate(offer_of(0), share)->flags == 0);
  // Without INIT_EXT there is no second word of flags, whatever is there.
  const Share never = share_with(Caching::kNever, false, false);
  Session old;
  const auto answer = old.negotiate(offer_of(kEverything & ~u64{FUSE_INIT_EXT}), never);
  CHECK(answer->flags2 == 0);
  CHECK_FALSE(old.has(kMmapOfDirect));
  Session one;
  CHECK(one.negotiate(offer_of(FUSE_WRITEBACK_CACHE), share)->flags == FUSE_WRITEBACK_CACHE);
}

TEST_CASE("[case 86] session: versions before 7.31 are refused, later ones are told of this one") {
  const Share share = share_with(Caching::kAuto, false, false);
  const struct {
    u32 major, minor;
    i32 error;
    bool established;
  } versions[] = {{6, 99, -EPROTO, false}, {0, 0, -EPROTO, false}, {7, 0, -EPROTO, false},
                  {7, 30, -EPROTO, false}, {7, 31, 0, true},       {7, 39, 0, true},
                  {7, 1000, 0, true},      {8, 0, 0, false},       {~0u, ~0u, 0, false}};
  for (const auto& version : versions) {
    INFO(version.major << '.' << version.minor);
    Session session;
    const auto answer = session.negotiate(offer_of(kEverything, version.major, version.minor), share);
    CHECK((answer ? 0 : answer.error()) == version.error);
    CHECK(session.established() == version.established);
    if (!answer) continue;
    CHECK(answer->major == 7);
    CHECK(answer->minor == 39);
    if (!version.established) CHECK(answer->flags == 0);
  }
}

TEST_CASE("[case 86] session: read-ahead is bounded whatever is offered, and after its end nothing is left") {
  const Share share = share_with(Caching::kAuto, false, false);
  Session session;
  fuse_init_in offer = offer_of(kEverything);
  offer.max_readahead = ~u32{0};
  CHECK(session.negotiate(offer, share)->max_readahead == Session::kMostBytes);
  session.end();
  CHECK_FALSE(session.established());
  CHECK_FALSE(session.has(FUSE_MAX_PAGES));
}

}  // namespace
}  // namespace uvmm::fuse
