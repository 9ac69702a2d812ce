// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_driver.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace uvmm {
namespace {

// Its own allocation, so that the address sanitizer sees every byte that is touched beyond it.
u8* allocate_pages(u64 bytes) {
  auto* const pages = static_cast<u8*>(std::aligned_alloc(kPageSize, bytes));
  std::memset(pages, 0, bytes);
  return pages;
}

}  // namespace

void FakeRam::Free::operator()(u8* pointer) const {
  std::free(pointer);
}

FakeRam::FakeRam()
    : low_(allocate_pages(kBoundary - kStart)),
      high_(allocate_pages(kEnd - kBoundary)),
      memory_({{guest(kStart), {low_.get(), kBoundary - kStart}},
               {guest(kBoundary), {high_.get(), kEnd - kBoundary}}}) {}

GuestAddress FakeRam::allocate(u64 bytes, u64 alignment) {
  const u64 start = align_up(next_, alignment);
  if (start + bytes > kBoundary) throw std::logic_error("the fake guest's memory is used up");
  next_ = start + bytes;
  return guest(start);
}

void FakeRam::recycle() {
  rewind(guest(kStart));
}

void FakeRam::rewind(GuestAddress start) {
  std::memset(low_.get() + (address(start) - kStart), 0, next_ - address(start));
  next_ = address(start);
}

FakeDriver::FakeDriver(u16 size, u64 negotiated)
    : own_ram_(std::make_unique<FakeRam>()),
      ram_(*own_ram_),
      memory(ram_.memory()),
      features(negotiated),
      layout{.size = size,
             .descriptors = ram_.allocate(size * sizeof(vring_desc), 16),
             .driver_area = ram_.allocate(6 + size * u64{2}, 2),
             .device_area = ram_.allocate(6 + size * u64{8}, 4)} {
  for (u16 i = size; i > 0; --i) free_descriptors_.push_back(u16(i - 1));
}

FakeDriver::FakeDriver(FakeRam& ram, u16 size, u64 negotiated)
    : ram_(ram),
      memory(ram.memory()),
      features(negotiated),
      layout{.size = size,
             .descriptors = ram_.allocate(size * sizeof(vring_desc), 16),
             .driver_area = ram_.allocate(6 + size * u64{2}, 2),
             .device_area = ram_.allocate(6 + size * u64{8}, 4)} {
  for (u16 i = size; i > 0; --i) free_descriptors_.push_back(u16(i - 1));
}

FakeDriver::Chain& FakeDriver::Chain::reads(std::span<const u8> bytes) {
  const GuestAddress gpa = driver_->allocate(bytes.size());
  if (!bytes.empty())
    std::memcpy(driver_->memory.slice(gpa, bytes.size())->data(), bytes.data(), bytes.size());
  return reads_at(address(gpa), static_cast<u32>(bytes.size()));
}

FakeDriver::Chain& FakeDriver::Chain::writes(u32 bytes) {
  const GuestAddress gpa = driver_->allocate(bytes);
  if (bytes > 0) std::ranges::fill(*driver_->memory.slice(gpa, bytes), FakeRam::kFill);
  return writes_at(address(gpa), bytes);
}

FakeDriver::Chain& FakeDriver::Chain::reads_at(u64 gpa, u32 bytes) {
  descriptors_.push_back({.addr = gpa, .len = bytes, .flags = 0, .next = 0});
  return *this;
}

FakeDriver::Chain& FakeDriver::Chain::writes_at(u64 gpa, u32 bytes) {
  descriptors_.push_back({.addr = gpa, .len = bytes, .flags = VRING_DESC_F_WRITE, .next = 0});
  return *this;
}

FakeDriver::Chain& FakeDriver::Chain::indirect() {
  indirect_ = true;
  return *this;
}

std::vector<GuestAddress> FakeDriver::Chain::offer() {
  std::vector<GuestAddress> buffers;
  for (const vring_desc& descriptor : descriptors_) buffers.push_back(guest(descriptor.addr));
  for (u64 i = 0; i + 1 < descriptors_.size(); ++i) descriptors_[i].flags |= VRING_DESC_F_NEXT;

  if (indirect_) {
    for (u64 i = 0; i + 1 < descriptors_.size(); ++i) descriptors_[i].next = static_cast<le16>(i + 1);
    const auto table_bytes = static_cast<u32>(descriptors_.size() * sizeof(vring_desc));
    const GuestAddress table = driver_->allocate(table_bytes, 16);
    std::memcpy(driver_->memory.slice(table, table_bytes)->data(), descriptors_.data(), table_bytes);
    descriptors_ = {{.addr = address(table), .len = table_bytes, .flags = VRING_DESC_F_INDIRECT, .next = 0}};
  }

  std::vector<u16> indexes;
  for (u64 i = 0; i < descriptors_.size(); ++i) {
    if (driver_->free_descriptors_.empty()) throw std::logic_error("the fake driver's ring is full");
    indexes.push_back(driver_->free_descriptors_.back());
    driver_->free_descriptors_.pop_back();
  }
  for (u64 i = 0; i < descriptors_.size(); ++i) {
    if (i + 1 < descriptors_.size()) descriptors_[i].next = indexes[i + 1];
    driver_->descriptor(indexes[i]) = descriptors_[i];
  }
  const u16 head = indexes.front();
  driver_->chains_[head] = std::move(indexes);
  driver_->offer_head(head);
  return buffers;
}

std::optional<vring_used_elem> FakeDriver::take_used() {
  if (taken_used_ == used_index()) return std::nullopt;
  const vring_used_elem entry = used_ring(taken_used_++ & (layout.size - 1));
  const auto chain = chains_.find(static_cast<u16>(entry.id));
  if (chain != chains_.end()) {
    free_descriptors_.insert(free_descriptors_.end(), chain->second.rbegin(), chain->second.rend());
    chains_.erase(chain);
  }
  return entry;
}

vring_desc& FakeDriver::descriptor(u16 index) {
  return field<vring_desc>(layout.descriptors + index * sizeof(vring_desc));
}

void FakeDriver::offer_head(u16 head) {
  avail_ring(avail_index() & (layout.size - 1)) = head;
  ++avail_index();
}

void FakeDriver::offer_descriptor(u16 index, const vring_desc& value) {
  descriptor(index) = value;
  offer_head(index);
}

std::vector<u8> FakeDriver::bytes(GuestAddress gpa, u64 length) const {
  const auto span = memory.slice(gpa, length).value();
  return {span.begin(), span.end()};
}

}  // namespace uvmm
