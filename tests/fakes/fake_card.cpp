// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fake_card.h"

#include <cassert>

namespace uvmm {
FakeCard::FakeCard(FakeIo& host, VirtioDevice& behind, const GuestMemory& memory)
    : io(host),
      device(behind),
      transport(device, {.io = io,
                         .memory = memory,
                         .log = log,
                         .router = router,
                         .doorbells = doorbells,
                         .name = "fake",
                         .bar_address = 0xd000'8000,
                         .config_page = config_page,
                         .register_pages = registers}) {}

FakeCard::~FakeCard() {
  transport.shut_down();
  io.drain([this] { io.finish_all(0); });
  assert(transport.stopped());
}

u32 FakeCard::capability(u8 type) const {
  for (u32 at = config_page[PCI_CAPABILITY_LIST]; at; at = config_page[at + 1]) {
    const bool is_virtio = config_page[at] == PCI_CAP_ID_VNDR;
    if (is_virtio ? config_page[at + 3] == type : type == 0) return at;
  }
  return 0;
}

void FakeCard::negotiate(u64 features) {
  for (const u8 status : {1, 3}) write<u8>(VIRTIO_PCI_COMMON_STATUS, status);
  for (const u32 select : {0u, 1u}) {
    write<u32>(VIRTIO_PCI_COMMON_GFSELECT, select);
    write<u32>(VIRTIO_PCI_COMMON_GF, static_cast<u32>(features >> 32 * select));
  }
  write<u8>(VIRTIO_PCI_COMMON_STATUS, 11);
}

void FakeCard::enable_queue(u16 index, const Virtqueue::Layout& layout) {
  write<u16>(VIRTIO_PCI_COMMON_Q_SELECT, index);
  write<u16>(VIRTIO_PCI_COMMON_Q_SIZE, layout.size);
  const auto write_address = [this](u32 offset, GuestAddress gpa) {
    write<u32>(offset, static_cast<u32>(address(gpa)));
    write<u32>(offset + 4, static_cast<u32>(address(gpa) >> 32));
  };
  write_address(VIRTIO_PCI_COMMON_Q_DESCLO, layout.descriptors);
  write_address(VIRTIO_PCI_COMMON_Q_AVAILLO, layout.driver_area);
  write_address(VIRTIO_PCI_COMMON_Q_USEDLO, layout.device_area);
  write<u16>(VIRTIO_PCI_COMMON_Q_ENABLE, 1);
}

bool FakeCard::reset() {
  write<u8>(VIRTIO_PCI_COMMON_STATUS, 0);
  io.drain([this] { io.finish_all(0); });
  return status() == 0 && transport.stopped();
}

}  // namespace uvmm
