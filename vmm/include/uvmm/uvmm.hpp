// SPDX-License-Identifier: Apache-2.0
// libuvmm: a virtual machine as an object. Fill in a Config, create a Vm from it, run it.
//
// Many VMs may live in one process. The library never exits the process, installs no signal handler, and
// touches no terminal or standard stream that it was not given.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <uvmm/api.h>
#include <uvmm/error.hpp>
#include <uvmm/monitor.hpp>

namespace uvmm {

class Disk;  // uvmm/disk.hpp

struct MemoryConfig {
  std::uint64_t bytes = std::uint64_t{512} << 20;
  bool hugepages = false;  // from the reserved pool (hugetlbfs, 2 MiB) rather than transparent huge pages
  bool prefault = false;   // populate before the guest starts
  bool mergeable = false;  // offer to kernel same-page merging
  bool shared = false;     // a memfd that other processes could map, rather than anonymous private memory
};

// A virtio balloon: memory that the guest does not use goes back to the host.
struct BalloonConfig {
  bool enabled = true;
  std::uint64_t bytes = 0;          // how much the guest is asked to do without, at first
  bool deflate_on_oom = true;       // a guest that runs out of memory takes some of it back
  bool free_page_reporting = true;  // free memory goes back by itself; not with hugepages or prefault
};

// A virtio block device. Always a raw image or block device; never guessed from content.
struct DiskConfig {
  std::string path;
  std::optional<bool> read_only;  // unset: by itself on erofs and squashfs images
  bool root = false;              // the kernel command line names this disk as root=
  std::string serial;             // up to 20 bytes (virtio 1.2, 5.2.6: VIRTIO_BLK_T_GET_ID); empty: derived
  bool direct = false;            // O_DIRECT
  std::uint16_t queues = 0;       // 0: one per vCPU, four at most
  bool lock = true;               // an OFD lock: shared when read-only, else exclusive
  // A disk that the caller serves, in place of an image; `path` is then its name for messages, and of the
  // rest only read_only, root, serial and queues count. Borrowed: must outlive the Vm.
  Disk* disk = nullptr;
};

// A port of the host that user-mode networking passes on to the guest.
struct NetForward {
  enum class Protocol : std::uint8_t { kTcp, kUdp };
  Protocol protocol = Protocol::kTcp;
  std::string host_address;  // IPv4 or IPv6, where the host listens; empty: everywhere
  std::uint16_t host_port = 0;
  std::string guest_address;  // empty: the guest's own, as it is told by DHCP
  std::uint16_t guest_port = 0;
};

// A virtio network device.
struct NetConfig {
  enum class Kind : std::uint8_t {
    kUser,  // user-mode networking: needs neither privileges nor set-up
    kTap,   // the tap `tap`: an existing one, or, with CAP_NET_ADMIN, one made for the time of the Vm
    kFds,   // taps or macvtaps that the caller has opened: `fds`, one for each queue pair
    // A socket of messages (SOCK_SEQPACKET or SOCK_DGRAM), the one of `fds`: each message is an Ethernet
    // frame. With socketpair() the caller has the other end.
    kSocket,
  };
  Kind kind = Kind::kUser;
  std::string tap;
  std::vector<int> fds;              // duplicated by Vm::create(); made non-blocking
  std::vector<NetForward> forwards;  // kUser
  std::optional<std::array<std::uint8_t, 6>>
      mac;                   // unset: derived from the names of VM and tap, and the order
  std::uint16_t mtu = 0;     // 0: the guest is told nothing, and has 1500
  std::uint16_t queues = 0;  // pairs; 0: one per vCPU, four at most, where the host's end can have several
  std::uint16_t queue_size = 256;  // entries of each at most: a power of two, up to 1024
};

// A directory of the host that the guest mounts by virtio-fs. It is opened once, and symlinks on the way to
// it are followed then; what the guest does stays below it.
struct ShareConfig {
  enum class Cache : std::uint8_t {
    kAuto,    // what the guest has seen counts for a second, a file's content until it changes
    kAlways,  // until the guest forgets it: for a directory that nobody else changes
    kNever,   // the guest asks each time
  };
  std::string path;
  std::string tag;  // what the guest mounts it by, up to 36 bytes; empty: the path's last part
  bool read_only = false;
  Cache cache = Cache::kAuto;
  bool writeback = false;            // the guest gathers what is written: for a directory of its own
  std::optional<std::uint32_t> uid;  // all files appear to be this user's; unset: ids pass through when this
  std::optional<std::uint32_t> gid;  // process has root's privileges, else 0
};

struct ConsoleConfig {
  enum class Kind : std::uint8_t {
    kOff,
    kStreams,  // two descriptors that the caller lends: a terminal, pipes, files
    kFile,     // output appended to `path`; no input
    kUnix,     // a listening Unix socket at `path`, mode 0600; one client at a time, others wait
    kSink,     // output to `sink`; input from Vm::send_console_input()
  };
  Kind kind = Kind::kOff;
  int input_fd = -1;    // kStreams: -1 for none. Borrowed: must outlive the Vm.
  int output_fd = -1;   // kStreams: likewise
  bool escape = false;  // kStreams: Ctrl-a x ends the VM, Ctrl-a a sends Ctrl-a
  std::string path;
  // Called on the thread that runs the VM, which serves all of its devices.
  std::function<void(std::string_view bytes)> sink;
  bool backlog = false;  // keep the last 64 KiB of output for whom Vm::attach_console() brings
};

// A secret or setting for the guest's service manager (systemd.system-credentials(7)); the guest finds it in
// SMBIOS type 11. At most 64 KiB in all.
struct CredentialConfig {
  std::string id;    // what the guest calls it; a file name
  std::string path;  // of the file with its value
};

// A port of CID 2 that the caller serves.
struct VsockListener {
  std::uint32_t port = 0;
  // Called on the thread that runs the VM, with the host's end of each connection that the guest makes to the
  // port: a stream or seqpacket socket, as the guest asks, which is the callee's to close.
  std::function<void(int fd)> connected;
};

// A virtio socket device: connections between programs of the guest and of the host, without a network. At
// `path` host programs connect to the guest's ports; what the guest connects to at CID 2 is looked for at
// `path` with "_" and the port appended. `path` with "_seqpacket" is `path` for records. Both are created
// with mode 0600 and go with the Vm.
struct VsockConfig {
  std::uint32_t cid = 0;                 // the guest's address: from 3 on, and not 2^32 - 1
  std::string path;                      // at most 96 bytes; empty: no sockets in the file system
  std::vector<VsockListener> listeners;  // these ports are not looked for at `path`
};

struct Config {
  std::string name;                  // for messages; empty: "uvmm"
  std::string kernel;                // bzImage or vmlinux ELF, x86-64
  std::vector<std::string> initrds;  // concatenated in this order
  std::string cmdline;               // appended to the default, so that it wins
  bool default_cmdline = true;
  bool kernel_cache = true;  // keep unpacked kernels under the user's cache directory
  std::uint32_t cpus = 1;
  MemoryConfig memory;
  std::vector<DiskConfig> disks;    // in the guest's probe order
  std::vector<NetConfig> nets;      // likewise
  std::vector<ShareConfig> shares;  // likewise
  BalloonConfig balloon;
  bool rng = true;
  bool power_button = true;  // an input device with the one key that Vm::shut_down() presses
  ConsoleConfig console;
  std::optional<VsockConfig> vsock;
  std::string uuid;  // the guest's SMBIOS system UUID; empty: none
  std::vector<CredentialConfig> credentials;
  bool earlycon = false;  // a transmit-only debug port on `log` before virtio-console is up
};

struct Callbacks {
  LogSink log;  // empty: nothing is logged
  LogLevel log_level = LogLevel::kWarning;
  EventSink event;                         // may be empty
  std::function<void()> before_first_run;  // on the thread that runs the VM, just before vCPU 0 starts
};

class Machine;
class MachineThread;

// One virtual machine. create() opens and checks everything, run() lends the calling thread to the VM's I/O
// until its end. create, run and the destructor belong to one thread at a time; the others may be called from
// any thread while the Vm exists.
class UVMM_API Vm {
 public:
  // Checks the whole configuration before anything is opened or created. Nothing is left behind on failure.
  static Result<Vm> create(Config config, Callbacks callbacks = {});

  Vm(Vm&&) noexcept;
  Vm& operator=(Vm&&) noexcept;
  ~Vm();

  // Runs the VM to its end. Once only, as start().
  Outcome run();

  // Runs the VM on a thread of its own, which has all signals blocked. It ends with the VM, and at the latest
  // with this object, which stops it.
  Result<void> start();
  // Waits until a VM that was started has come to its end, or for so long, and then says nothing. As often as
  // wanted, from any thread.
  Outcome wait();
  std::optional<Outcome> wait_for(std::chrono::milliseconds time);

  // Between the two no vCPU runs; pause() waits until none does. Devices finish what they were given, and
  // take connections and packets as far as the guest has given them room. Both also before the VM runs, which
  // then begins with the pause. Neither is to be called by what the VM calls.
  void pause();
  void resume();

  // Presses the guest's power button, which asks it to power off, and ends the VM as stop() does when it has
  // not by `deadline`, if there is one. A guest that has no driver for the button yet is ended at once. Does
  // not wait.
  void shut_down(std::optional<std::chrono::milliseconds> deadline = std::nullopt);

  // Ends the VM as soon as its vCPUs have left the guest; run() returns End::kStopped.
  void stop();

  // Tells the guest the console's size in characters (virtio 1.2, 5.3.4: VIRTIO_CONSOLE_F_SIZE). Does
  // not wait; before run(), the guest learns of it when its driver starts.
  void resize_console(std::uint16_t columns, std::uint16_t rows);

  // Types `bytes` on a console of kind kSink. Does not wait: says how many of them were taken, which are
  // fewer while the guest does not read.
  std::size_t send_console_input(std::string_view bytes);

  // Connects to a port of the guest's, as a stream, while the VM runs. Waits for the guest's answer, which
  // comes within seconds, and gives a descriptor that is the caller's to close. Not to be called by what the
  // VM calls.
  Result<int> connect_vsock(std::uint32_t port);

  // Asks the guest to do without so many bytes of its RAM, in steps of 4 KiB. Does not wait: balloon_bytes()
  // tells how far the guest has come. Nothing happens in a guest without a driver for it.
  void set_balloon(std::uint64_t bytes);
  std::uint64_t balloon_bytes() const;

  // What the guest last said of its memory; nothing before it has, and where it has no driver for the
  // balloon. Asks for news, too, without waiting: a call a moment later has them.
  MemoryStatistics memory_statistics();

  // Tells the guest the size that the image of disk `index` of the configuration, or the Disk there, has now,
  // and returns it in bytes. Disks grow only: one that has become smaller is refused, and the guest's stays
  // as it is. While the VM runs; not to be called by what the VM calls.
  Result<std::uint64_t> resize_disk(std::size_t index);

  // Plugs in the cable of network device `index` of the configuration, or pulls it out: then no frame goes
  // either way. It is plugged in at first. Does not wait.
  Result<void> plug_in_net(std::size_t index, bool plugged_in);

  // Shows the console's output to `socket` as well, and takes input from there, until either end closes it. A
  // stream socket, which this takes over. What it does not take in time it is not shown. One that comes when
  // there are 16 is closed. Does not wait.
  Result<void> attach_console(int socket);

  // What the log is given from now on.
  void set_log_level(LogLevel level);

  // The kernel command line as the guest gets it.
  std::string_view cmdline() const;

  // What it has come to. All three at any time; they wait for nothing.
  State state() const;
  Statistics statistics() const;
  ExitCounts exits() const;  // of all vCPUs

  // A descriptor that becomes readable, and stays so, when the VM has come to its end: for poll() and its
  // kin. It lives as long as the Vm; not to be read.
  int end_fd() const;

 private:
  __attribute__((visibility("hidden"))) explicit Vm(std::unique_ptr<Machine> machine);
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<MachineThread> thread_;  // once start() was called; ends before the machine
};

// Checks `config` on its own, without opening or starting anything that create() would leave behind.
UVMM_API Result<void> check(const Config& config);

}  // namespace uvmm
