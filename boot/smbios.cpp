// SPDX-License-Identifier: Apache-2.0
#include "boot/smbios.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <initializer_list>
#include <numeric>
#include <string_view>
#include <vector>

#include "arch/x86_64/layout.h"
#include "vmm/base/size_text.h"

namespace uvmm {
namespace {

// DSP0134 3.6, 5.2.2: SMBIOS 3.0 (64-bit) entry point.
struct [[gnu::packed]] EntryPoint {
  char anchor[5] = {'_', 'S', 'M', '3', '_'};
  u8 checksum = 0;
  u8 length = 24;
  u8 major_version = 3;
  u8 minor_version = 6;
  u8 docrev = 0;
  u8 revision = 1;  // of this structure
  u8 reserved = 0;
  le32 maximum_table_size = 0;
  le64 table_address = 0;
};
static_assert(sizeof(EntryPoint) == 24);

struct [[gnu::packed]] Header {  // 6.1.2
  u8 type;
  u8 length;
  le16 handle;
};

struct [[gnu::packed]] BiosInformation {  // 7.1, type 0
  u8 vendor = 1;
  u8 version = 2;
  le16 starting_address_segment = 0;
  u8 release_date = 0;
  u8 rom_size = 0;
  le64 characteristics = 1 << 3;  // not supported: none of the rest means anything
  u8 extension_1 = 0;
  u8 extension_2 = 1 << 4;  // 7.1.2.2: the table describes a virtual machine
  u8 major_release = 0xFF, minor_release = 0xFF;
  u8 controller_major = 0xFF, controller_minor = 0xFF;
};
static_assert(sizeof(BiosInformation) == 0x18 - sizeof(Header));

struct [[gnu::packed]] SystemInformation {  // 7.2, type 1
  u8 manufacturer = 1;
  u8 product_name = 2;
  u8 version = 0;
  u8 serial_number = 0;
  u8 uuid[16] = {};
  u8 wake_up_type = 6;  // power switch
  u8 sku_number = 0;
  u8 family = 0;
};
static_assert(sizeof(SystemInformation) == 0x1B - sizeof(Header));

constexpr u8 kOemStrings = 11;
constexpr u8 kEndOfTable = 127;
constexpr u64 kTableOffset = 32;  // behind the entry point, aligned

class Structures {
 public:
  template <typename Strings>
  void add(u8 type, std::span<const u8> formatted, const Strings& strings) {
    const Header header = {type, static_cast<u8>(sizeof(Header) + formatted.size()), next_handle_++};
    append({reinterpret_cast<const u8*>(&header), sizeof header});
    append(formatted);
    bool any = false;
    for (const std::string_view string : strings) {
      append({reinterpret_cast<const u8*>(string.data()), string.size()});
      bytes_.push_back(0);
      any = true;
    }
    // 6.1.3: the set of strings ends with a further NUL; an empty set is two.
    if (!any) bytes_.push_back(0);
    bytes_.push_back(0);
  }

  template <typename Body>
  void add_body(u8 type, const Body& body, std::initializer_list<std::string_view> strings) {
    add(type, {reinterpret_cast<const u8*>(&body), sizeof body}, strings);
  }

  std::span<const u8> bytes() const { return bytes_; }

 private:
  void append(std::span<const u8> part) { bytes_.insert(bytes_.end(), part.begin(), part.end()); }

  std::vector<u8> bytes_;
  u16 next_handle_ = 0;
};

SystemInformation system_information(const Uuid& uuid) {
  SystemInformation body;
  std::ranges::copy(uuid, body.uuid);
  // 7.2.1: the first three fields are little-endian.
  std::reverse(body.uuid, body.uuid + 4);
  std::reverse(body.uuid + 4, body.uuid + 6);
  std::reverse(body.uuid + 6, body.uuid + 8);
  return body;
}

EntryPoint entry_point(u64 table_bytes) {
  EntryPoint entry;
  entry.maximum_table_size = static_cast<u32>(table_bytes);
  entry.table_address = layout::kSmbios.start + kTableOffset;
  const auto* const bytes = reinterpret_cast<const u8*>(&entry);
  entry.checksum = static_cast<u8>(-std::accumulate(bytes, bytes + sizeof entry, 0));
  return entry;
}

}  // namespace

std::optional<Uuid> parse_uuid(std::string_view text) {
  constexpr std::string_view kPattern = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
  if (text.size() != kPattern.size()) return std::nullopt;
  Uuid uuid{};
  u32 digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (kPattern[i] == '-') {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    u8 digit = 0;
    const auto [end, error] = std::from_chars(&text[i], &text[i] + 1, digit, 16);
    if (error != std::errc{}) return std::nullopt;
    uuid[digits / 2] = static_cast<u8>(uuid[digits / 2] << 4 | digit);
    ++digits;
  }
  return uuid;
}

Result<void> write_smbios_tables(const GuestMemory& memory, const SmbiosInfo& info) {
  Structures structures;
  structures.add_body(0, BiosInformation{}, {"uvmm", "1"});
  structures.add_body(1, system_information(info.uuid), {"uvmm", "uvmm virtual machine"});
  if (!info.oem_strings.empty()) {
    const u8 count = static_cast<u8>(info.oem_strings.size());
    structures.add(kOemStrings, {&count, 1}, info.oem_strings);
  }
  structures.add(kEndOfTable, {}, std::initializer_list<std::string_view>{});

  const std::span<const u8> table = structures.bytes();
  constexpr u64 kRoom = layout::kSmbios.bytes - kTableOffset;
  if (table.size() > kRoom) {
    return with_hint(fail(ErrorKind::kBadData, "--credential: {} more than the {} that all of them may have",
                          size_text(table.size() - kRoom), size_text(kRoom)),
                     "give the guest large files by a disk or a share");
  }
  const auto target = memory.slice(guest(layout::kSmbios.start + kTableOffset), table.size());
  if (!target || !memory.write(guest(layout::kSmbios.start), entry_point(table.size())))
    return fail(ErrorKind::kBadData, "the guest's memory is too small");
  std::memcpy(target->data(), table.data(), table.size());
  return {};
}

}  // namespace uvmm
