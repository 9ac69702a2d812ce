// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/fuse_guest.h"

#include <fstream>
#include <iterator>
#include <stdexcept>

namespace uvmm {

FuseGuest::FuseGuest(const Setup& setup)
    : directory(setup.directory),
      own_ram(setup.ram ? nullptr : std::make_unique<FakeRam>()),
      ram(setup.ram ? *setup.ram : *own_ram) {
  if (directory.empty()) {
    char name[] = "/tmp/uvmm-share-XXXXXX";
    directory = ::mkdtemp(name);
    std::filesystem::permissions(directory, std::filesystem::perms(0755));
    remove_ = true;
  }
  fuse::ShareOptions options = setup.options;
  options.path = directory;
  if (options.tag.empty()) options.tag = "tag";
  Result<fuse::Share> share = fuse::Share::open(options);
  if (!share) throw std::logic_error(share.error().message);
  share->file_handles &= setup.file_handles;
  fs.emplace(io, std::move(*share), u16{1}, setup.limits, log);
  queue.emplace(fs->io(), driver);
  fs->start(driver.features);
  tasks.spawn(fs->run(queue->queue, 1));
  if (setup.init) initialise(setup.flags);
}

FuseGuest::~FuseGuest() {
  queue->queue.stop();
  fs->io().cancel_all();
  for (int turns = 0; !io.empty() && turns < 1000; ++turns) io.finish_all(-ECANCELED);
  fs->reset();
  if (remove_) std::filesystem::remove_all(directory);
}

fuse_in_header FuseGuest::header(u32 opcode, u64 node, const Bytes& arguments) {
  return {.len = static_cast<u32>(sizeof(fuse_in_header) + arguments.size()),
          .opcode = opcode,
          .unique = unique++,
          .nodeid = node,
          .uid = uid,
          .gid = gid,
          .pid = 1};
}

std::vector<GuestAddress> FuseGuest::offer(const fuse_in_header& request, const Bytes& arguments, u32 room) {
  FakeDriver::Chain chain = driver.chain();
  chain.reads(request);
  if (!arguments.empty()) chain.reads(std::span<const u8>(arguments));
  if (room > 0) chain.writes(room);
  const std::vector<GuestAddress> at = chain.offer();
  queue->queue.notify();
  io.end_turn();
  return at;
}

void FuseGuest::settle() {
  for (int steps = 0; !io.empty() && steps < 10'000; ++steps) io.perform(0);
}

FuseAnswer FuseGuest::answer(const std::vector<GuestAddress>& at, u32 room) {
  FuseAnswer answer;
  const std::optional<vring_used_elem> used = driver.take_used();
  if (!used || used->len < sizeof(fuse_out_header)) return answer;
  const auto head = *driver.memory.read<fuse_out_header>(at.back());
  if (head.len != used->len || head.len > room) throw std::logic_error("an answer of the wrong length");
  answer.answered = true;
  answer.error = head.error;
  answer.unique = head.unique;
  answer.payload = driver.bytes(at.back() + sizeof head, head.len - sizeof head);
  return answer;
}

FuseAnswer FuseGuest::call(u32 opcode, u64 node, const Bytes& arguments, u32 room) {
  const u64 mark = address(ram.allocate(0));
  const std::vector<GuestAddress> at = offer(header(opcode, node, arguments), arguments, room);
  settle();
  const FuseAnswer result = answer(at, room);
  ram.rewind(guest(mark));
  return result;
}

fuse_init_out FuseGuest::initialise(u64 flags, u32 major, u32 minor) {
  const fuse_init_in offered{.major = major,
                             .minor = minor,
                             .max_readahead = 131072,
                             .flags = static_cast<u32>(flags),
                             .flags2 = static_cast<u32>(flags >> 32)};
  return call<fuse_init_out>(FUSE_INIT, 0, bytes_of(offered));
}

u64 FuseGuest::lookup(std::string_view name, u64 parent) {
  return call<fuse_entry_out>(FUSE_LOOKUP, parent, text(name)).nodeid;
}

u64 FuseGuest::open(u64 node, u32 flags, u32 opcode) {
  return call<fuse_open_out>(opcode, node, bytes_of(fuse_open_in{.flags = flags})).fh;
}

Bytes FuseGuest::read(u64 node, u64 handle, u64 offset, u32 size) {
  const FuseAnswer result =
      call(FUSE_READ, node, bytes_of(fuse_read_in{.fh = handle, .offset = offset, .size = size}),
           static_cast<u32>(sizeof(fuse_out_header)) + size);
  last_error = result.error;
  return result.payload;
}

i32 FuseGuest::write(u64 node, u64 handle, u64 offset, std::string_view content, u32 write_flags, u32 flags) {
  const fuse_write_in arguments{.fh = handle,
                                .offset = offset,
                                .size = static_cast<u32>(content.size()),
                                .write_flags = write_flags,
                                .flags = flags};
  const FuseAnswer result =
      call(FUSE_WRITE, node, bytes_of(arguments) + Bytes(content.begin(), content.end()));
  last_error = result.error;
  return result.error < 0 ? result.error : static_cast<i32>(result.as<fuse_write_out>().size);
}

void FuseGuest::release(u64 node, u64 handle, u32 opcode) {
  last_error = error_of(opcode, node, bytes_of(fuse_release_in{.fh = handle}));
}

u64 FuseGuest::create(std::string_view name, u64& handle, u32 mode, u32 flags) {
  const fuse_create_in arguments{.flags = flags, .mode = mode | 0100000};
  const FuseAnswer result = call(FUSE_CREATE, FUSE_ROOT_ID, bytes_of(arguments) + text(name));
  last_error = result.error;
  handle = result.as<fuse_open_out>(sizeof(fuse_entry_out)).fh;
  return result.as<fuse_entry_out>().nodeid;
}

void FuseGuest::put(std::string_view name, std::string_view content) const {
  std::ofstream(path(name), std::ios::binary) << content;
}

std::string FuseGuest::get(std::string_view name) const {
  std::ifstream file(path(name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace uvmm
