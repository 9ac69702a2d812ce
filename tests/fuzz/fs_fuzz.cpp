// SPDX-License-Identifier: Apache-2.0
// Fuzz target: a guest that sends whole FUSE requests, honest and not, to a share of a scratch directory in
// memory, with a host that now and then fails, and that moves and swaps files meanwhile. Whatever happens:
// every answer is well formed, what is beside the share is neither changed nor seen, nothing becomes a
// device, descriptors and nodes stay bounded, and in the end all of them are gone.
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <set>

#include "tests/fuzz/fs_requests.h"

using namespace uvmm;
namespace fs = std::filesystem;

namespace {

constexpr u32 kRoom = 8192;
constexpr fuse::Limits kLimits{.nodes = 64, .handles = 16, .paths = 4};
constexpr const char* kSecret = "nobody reads this";

// DIR/share; DIR/outside, which is as it was in the end; and DIR/moved, where the host moves things to.
class Scratch {
 public:
  Scratch() {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{.rlim_cur = 1_MiB, .rlim_max = 1_MiB};  // so that files stay small
    ::setrlimit(RLIMIT_FSIZE, &limit);
    char name[] = "/dev/shm/uvmm-fs-fuzz-XXXXXX";
    path_ = ::mkdtemp(name);
    fs::create_directories(path_ + "/outside/directory");
    put("/outside/secret", kSecret);
    put("/outside/directory/b", kSecret);
    before_ = state_of("/outside");
    struct stat status{};
    require(::stat(path_.c_str(), &status) == 0);
    above_ = status.st_ino;
  }
  ~Scratch() {
    clean();
    fs::remove_all(path_);
  }

  // The share as it is at first.
  void fill() const {
    clean();
    fs::create_directories(share() + "/d/e");
    fs::create_directory(path_ + "/moved");
    put("/share/a", "content");
    put("/share/d/b", "content");
    fs::create_symlink("../outside/secret", share() + "/out");
    fs::create_symlink("..", share() + "/up");
    fs::create_symlink(path_ + "/outside", share() + "/absolute");
    ::mknod((share() + "/fifo").c_str(), S_IFIFO | 0666, 0);
    ::mknod((share() + "/socket").c_str(), S_IFSOCK | 0666, 0);
    ::mknod((share() + "/device").c_str(), S_IFCHR | 0666, makedev(1, 3));
  }

  // Something that the host does meanwhile, without following a symlink itself.
  void meddle(FuzzedDataProvider& input) const {
    std::error_code error;
    static constexpr const char* kNames[] = {"a", "d", "new", "out"};
    const std::string name = share() + "/" + input.PickValueInArray(kNames);
    switch (input.ConsumeIntegralInRange(0, 5)) {
      case 0:
        ::rename(name.c_str(), (path_ + "/moved/" + std::to_string(moved_++)).c_str());
        fs::create_directory_symlink(path_ + "/outside/directory", name, error);
        break;
      case 1:
        ::rename(name.c_str(), (share() + "/" + input.PickValueInArray(kNames)).c_str());
        break;
      case 2:
        fs::remove_all(name, error);
        break;
      case 3:
        if (!fs::is_symlink(name)) ::chmod(name.c_str(), input.ConsumeIntegral<u16>() & 0777);
        break;
      case 4:
        if (!fs::is_symlink(name)) ::truncate(name.c_str(), input.ConsumeIntegral<u8>());
        break;
      default:
        fs::create_directory(name, error);
        break;
    }
  }

  void check() const {
    require(state_of("/outside") == before_);
    for (const char* const part : {"/share", "/moved"}) {
      for (const auto& [name, state] : state_of(part)) {
        const bool device = S_ISBLK(state.mode) || (S_ISCHR(state.mode) && state.device != 0);
        require(!device || state.device == makedev(1, 3));
      }
    }
  }
  void check_unchanged(const std::string& part) const { require(state_of(part) == shared_); }

  bool is_outside(u64 number) const {
    if (number == above_) return true;
    for (const auto& [name, state] : before_) {
      if (state.number == number) return true;
    }
    return false;
  }

  void remember() { shared_ = state_of("/share"); }
  std::string share() const { return path_ + "/share"; }

 private:
  struct State {
    u64 number, mode, links, owner, size, device;
    i64 changed_s, changed_ns;
    bool operator==(const State&) const = default;
  };
  using States = std::map<std::string, State>;

  States state_of(const std::string& part) const {
    States states;
    std::vector<fs::path> names{path_ + part};
    for (const auto& entry : fs::recursive_directory_iterator(path_ + part)) names.push_back(entry.path());
    for (const fs::path& name : names) {
      struct stat status{};
      require(::lstat(name.c_str(), &status) == 0);
      states[name] = {status.st_ino,
                      status.st_mode,
                      status.st_nlink,
                      u64{status.st_uid} << 32 | status.st_gid,
                      static_cast<u64>(status.st_size),
                      status.st_rdev,
                      status.st_ctim.tv_sec,
                      status.st_ctim.tv_nsec};
    }
    return states;
  }

  void put(const std::string& name, std::string_view content) const {
    const Fd fd(::open((path_ + name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    require(::write(fd.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()));
  }

  // The guest may have made files immutable.
  void clean() const {
    for (const char* const part : {"/share", "/moved"}) {
      std::error_code error;
      fs::remove_all(path_ + part, error);
      if (!error) continue;
      const fs::path root = path_ + part;
      clear_flags(root);
      for (const auto& entry : fs::recursive_directory_iterator(root)) clear_flags(entry.path());
      fs::remove_all(root);
    }
  }
  static void clear_flags(const fs::path& name) {
    const Fd fd(::open(name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    int none = 0;
    if (fd) ::ioctl(fd.get(), FS_IOC_SETFLAGS, &none);
  }

  std::string path_;
  States before_, shared_;
  u64 above_ = 0;  // the number of the directory that the share is in
  mutable u32 moved_ = 0;
};

FuseGuest::Setup setup(const Scratch& scratch, u32 choices, FakeRam& ram) {
  static constexpr fuse::Caching kCachings[] = {fuse::Caching::kAuto, fuse::Caching::kAlways,
                                                fuse::Caching::kNever, fuse::Caching::kAuto};
  return {.options = {.read_only = (choices & 7) == 7,
                      .writeback = (choices & 8) != 0,
                      .caching = kCachings[choices >> 4 & 3],
                      .uid = choices & 64 ? std::optional<u32>(1000) : std::nullopt},
          .limits = kLimits,
          .file_handles = (choices & 128) != 0,
          .directory = scratch.share(),
          .init = (choices & 256) == 0,
          .ram = &ram};
}

class World {
 public:
  World(Scratch& scratch, FuzzedDataProvider& choices, FakeRam& ram)
      : scratch_(scratch),
        input_(choices),
        choices_(choices.ConsumeIntegral<u16>()),
        guest_(setup(scratch, choices_, ram)),
        requests_(choices),
        mark_(guest_.ram.allocate(0)) {}

  // False: the device takes no more.
  bool step() {
    const int kind = input_.ConsumeIntegralInRange(0, 15);
    if (kind == 0) {
      end_one();
    } else if (kind == 1 && !read_only()) {
      scratch_.meddle(input_);
    } else {
      send();
      if (input_.ConsumeIntegralInRange(0, 3) > 0) settle();
    }
    collect();
    const fuse::Server& server = guest_.fs->server();
    require(server.inodes.size() <= kLimits.nodes);
    require(server.handles.descriptors() <= kLimits.handles && server.files.open_paths() <= kLimits.paths);
    return guest_.queue->listener.broke == 0;
  }

  void finish() {
    end_all();
    collect();
    if (guest_.queue->listener.broke == 0) give_back();
    guest_.queue->queue.stop();
    guest_.fs->io().cancel_all();
    end_all();
    require(guest_.io.empty() && guest_.tasks.empty());
    require(guest_.queue->queue.chains_out() == 0);
    guest_.fs->reset();
    const fuse::Server& server = guest_.fs->server();
    require(server.inodes.size() == 0 && server.handles.descriptors() == 0 && server.files.open_paths() == 0);
    if (read_only()) scratch_.check_unchanged("/share");
  }

 private:
  struct Request {
    u32 opcode;
    u64 node;
    u64 unique;
    std::vector<GuestAddress> at;
    u32 room;
  };

  // What answers have told of is all that there is.
  void give_back() {
    require(pending_.empty());
    guest_.ram.rewind(mark_);
    for (const auto& [node, handle] : opened_) {
      for (const u32 opcode : {FUSE_RELEASE, FUSE_RELEASEDIR}) guest_.release(node, handle, opcode);
    }
    for (const u64 node : known_)
      guest_.call(FUSE_FORGET, node, bytes_of(fuse_forget_in{.nlookup = ~u64{0}}), 0);
    const fuse::Server& server = guest_.fs->server();
    if (has_forgotten_) return;  // with what was open, maybe, which it then cannot release
    require(server.inodes.size() == (server.session.established() ? 1 : 0));
    require(server.handles.descriptors() == 0 && server.files.open_paths() == 0);
  }

  static bool is_silent(u32 opcode) {
    return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT;
  }
  bool read_only() const { return (choices_ & 7) == 7; }

  void send() {
    if (pending_.size() >= 6 || guest_.ram.allocated() > 900_KiB) {
      settle();
      end_all();
      collect();
    }
    if (pending_.empty()) guest_.ram.rewind(mark_);
    const u32 opcode = requests_.opcode();
    const u64 node = requests_.node();
    const Bytes arguments = requests_.arguments(opcode, guest_.unique);
    fuse_in_header header = guest_.header(opcode, node, arguments);
    if (requests_.lies()) header.len = input_.ConsumeIntegral<u32>();
    if (requests_.lies()) header.uid = header.gid = input_.ConsumeIntegral<u32>();
    u32 room = is_silent(opcode) ? 0 : kRoom;
    if (requests_.lies()) room = input_.ConsumeIntegralInRange<u32>(0, 400);
    const u16 head = guest_.driver.next_free();
    const auto at = guest_.offer(header, arguments, room);
    pending_[head] = {opcode, node, header.unique, at, room};
    has_forgotten_ |= opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_DESTROY;
  }

  void settle() {
    for (int steps = 0; !guest_.io.empty() && steps < 50; ++steps) guest_.io.perform(0);
  }
  void end_all() {
    for (int turns = 0; !guest_.io.empty() && turns < 100; ++turns) guest_.io.finish_all(-ECANCELED);
  }
  void end_one() {
    if (guest_.io.empty()) return;
    static constexpr i32 kErrors[] = {-EIO, -ENOSPC, -EAGAIN, -EINTR, -EDQUOT, -ECANCELED};
    const u32 i = input_.ConsumeIntegralInRange<u32>(0, guest_.io.size() - 1);
    if (input_.ConsumeBool()) return guest_.io.finish(i, input_.PickValueInArray(kErrors));
    guest_.io.perform(i);
  }

  void collect() {
    while (const auto used = guest_.driver.take_used()) {
      const auto request = pending_.find(static_cast<u16>(used->id));
      require(request != pending_.end());
      check(request->second, used->len);
      pending_.erase(request);
    }
  }

  void check(const Request& request, u32 length) {
    require(length <= request.room);
    if (length == 0) return require(is_silent(request.opcode) || request.room < sizeof(fuse_out_header));
    require(length >= sizeof(fuse_out_header));
    const auto head = *guest_.driver.memory.read<fuse_out_header>(request.at.back());
    require(head.len == length && head.unique == request.unique);
    require(head.error <= 0 && head.error > -512);
    require(head.error == 0 || length == sizeof head);
    if (head.error < 0) return;
    const FuseAnswer answer{
        .answered = true,
        .payload = guest_.driver.bytes(request.at.back() + sizeof head, length - sizeof head)};
    learn(request.opcode, request.node, answer);
  }

  void learn(u32 opcode, u64 node, const FuseAnswer& answer) {
    switch (opcode) {
      case FUSE_CREATE:
      case FUSE_TMPFILE:
        see_handle(answer.as<fuse_entry_out>().nodeid, answer.as<fuse_open_out>(sizeof(fuse_entry_out)));
        [[fallthrough]];
      case FUSE_LOOKUP:
      case FUSE_MKNOD:
      case FUSE_MKDIR:
      case FUSE_SYMLINK:
      case FUSE_LINK:
        return see(answer.as<fuse_entry_out>());
      case FUSE_OPEN:
      case FUSE_OPENDIR:
        return see_handle(node, answer.as<fuse_open_out>());
      case FUSE_READ: {
        const std::string_view data(reinterpret_cast<const char*>(answer.payload.data()),
                                    answer.payload.size());
        return require(data.find(kSecret) == data.npos);
      }
      case FUSE_READDIR:
        return entries(answer, 0);
      case FUSE_READDIRPLUS:
        return entries(answer, sizeof(fuse_entry_out));
      default:
        return;
    }
  }
  static void remember(std::vector<u64>& ids, u64 id) {
    if (ids.size() >= 32) ids.erase(ids.begin() + 1);
    ids.push_back(id);
  }
  void see(const fuse_entry_out& entry) {
    if (entry.nodeid == 0) return;
    require(entry.attr.ino != 0 && !scratch_.is_outside(entry.attr.ino));
    remember(requests_.nodes, entry.nodeid);
    known_.insert(entry.nodeid);
  }
  void see_handle(u64 node, const fuse_open_out& open) {
    remember(requests_.handles, open.fh);
    opened_.emplace_back(node, open.fh);
  }
  void entries(const FuseAnswer& answer, u64 before) {
    for (u64 at = 0; at < answer.payload.size();) {
      require(answer.payload.size() - at >= before + FUSE_NAME_OFFSET);
      const auto entry = answer.as<fuse_dirent>(at + before);
      const u64 end = at + before + FUSE_NAME_OFFSET + entry.namelen;
      const u64 next = at + before + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);
      require(entry.namelen > 0 && entry.namelen <= 255 && next <= answer.payload.size());
      for (u64 i = end; i < next; ++i) require(answer.payload[i] == 0);
      require(!scratch_.is_outside(entry.ino));
      if (before > 0) see(answer.as<fuse_entry_out>(at));
      at = next;
    }
  }

  Scratch& scratch_;
  FuzzedDataProvider& input_;
  const u32 choices_;
  FuseGuest guest_;
  FuseRequests requests_;
  const GuestAddress mark_;
  std::map<u16, Request> pending_;  // by its first descriptor
  std::set<u64> known_;
  std::vector<std::pair<u64, u64>> opened_;  // nodes and handles
  bool has_forgotten_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Scratch scratch;
  static FakeRam ram;
  scratch.fill();
  scratch.remember();
  ram.recycle();
  const int lowest_free = ::dup(0);
  ::close(lowest_free);
  FuzzedDataProvider input(data, size);
  {
    World world(scratch, input, ram);
    for (int steps = 0; input.remaining_bytes() > 0 && steps < 200; ++steps) {
      if (!world.step()) break;
    }
    world.finish();
  }
  scratch.check();
  const int still = ::dup(0);
  ::close(still);
  require(still == lowest_free);
  return 0;
}
