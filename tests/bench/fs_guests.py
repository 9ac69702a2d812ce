# SPDX-License-Identifier: Apache-2.0
"""Linux guests that work with files: uvmm's guest in a shared directory and on a disk with ext4, in turn, and QEMU's with virtiofsd in a
shared directory. Runs in the test host, started by bench.py.

Prints a line of JSON for each measurement: who, what, seconds, VM exits, interrupts, processor seconds of the host's side, and in a run
for that only, which is slow, system calls.
"""

import argparse
import json
import os
import signal
import subprocess
import tempfile
import time

from guests import QUIET, exits, name_and_seconds, qemu_command, runs_guest, threads, uvmm_command, write_job

VIRTIOFSD = "/usr/lib/qemu/virtiofsd"

# Each measurement is on the console between two lines that say so. What the guest has in memory is dropped before, so that
# each of them goes all the way.
JOB = r"""
irqs() { awk '/virtio/ { sum += $2 } END { print sum + 0 }' /proc/interrupts; }
measure() {  # NAME COMMAND...
  name=$1; shift
  sync; echo 3 >/proc/sys/vm/drop_caches; [ -z "$pause" ] || sleep 1
  echo; echo "begin $side $name $(irqs) $(cut -d' ' -f1 /proc/uptime)"
  "$@" >/dev/null || exit 1
  echo; echo "end $(irqs) $(cut -d' ' -f1 /proc/uptime)"
  [ -z "$pause" ] || sleep 1
}
export HOME=/tmp
printf '[user]\nname = n\nemail = e\n[safe]\ndirectory = *\n' >/tmp/.gitconfig
mkdir /tmp/tree; files create /tmp/tree $count; tar -cf /tmp/tree.tar -C /tmp tree
all() {
  cd $directory
  measure write_1_MiB files write file $bytes 1048576
  measure read_1_MiB files read file $bytes 1048576
  measure read_4_KiB files read file $bytes 4096
  for depth in 1 32; do
    measure random_read_4_KiB_depth_$depth files random-read file $bytes 4096 $depth $operations
    measure random_read_1_MiB_depth_$depth files random-read file $bytes 1048576 $depth $((operations / 50))
    measure random_write_4_KiB_depth_$depth files random-write file $bytes 4096 $depth $operations
  done
  measure untar tar -xf /tmp/tree.tar
  measure walk find tree
  measure stat files stat tree $count
  cd tree; git init -q .; git add .; git commit -qm all; cd ..
  measure git_status git -C tree status
  measure rm rm -rf tree
  mkdir tree
  measure create files create tree $count
  cd /; rm -rf $directory/tree $directory/file
}
side=share directory=/mnt/share all
if [ "$disk" ]; then
  mkdir /mnt/disk; mount -t ext4 /dev/$disk /mnt/disk
  side=disk directory=/mnt/disk all
fi
"""


def make_job(path, options, disk, pause):
    settings = (f"bytes={options.mebibytes << 20} count={options.count} operations={options.operations} disk={disk} "
                f"pause={'yes' if pause else ''}\n")
    write_job(path, settings + JOB)


def commands(options, work):
    cmdline = QUIET + " shares=share"
    qemu = ["-object", "memory-backend-memfd,id=memory,size=768M,share=on", "-chardev", f"socket,id=fs,path={work}/fs",
            "-device", "vhost-user-fs-pci,chardev=fs,tag=share"]
    return {"uvmm": uvmm_command(options, work + "/job", "768M", ["--disk", work + "/disk", "--share", work + "/share"], cmdline),
            "qemu": qemu_command(options, work + "/job", 768, qemu, cmdline, ",memory-backend=memory")}


def processor_seconds(pids):
    """Of all threads that run no guest code, also of those that have ended."""
    result = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as stat:
            result += name_and_seconds(stat.read())[1]
        result -= sum(seconds for _, name, seconds in threads(pid) if runs_guest(name))
    return result


class Calls:
    """Counts the system calls of the threads that run no guest code."""

    def __init__(self, pids, file):
        self.file = file
        own = [word for pid in pids for thread, name, _ in threads(pid) if not runs_guest(name) and not name.startswith("iou-")
               for word in ("-p", thread)]
        self.process = subprocess.Popen(["strace", "-q", "-c", "-U", "calls", "-o", file, *own], stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        with open(self.file) as file:
            totals = [int(line.split()[0]) for line in file if line.split()[1:] == ["total"]]
        return sum(totals)


def run(who, command, work, count_calls):
    servers = []
    if who == "qemu":
        servers.append(subprocess.Popen([VIRTIOFSD, f"--socket-path={work}/fs", "-o", f"source={work}/share", "-o", "cache=auto",
                                         "-o", "sandbox=chroot", "--thread-pool-size=0", "-f"], stderr=subprocess.DEVNULL))
        while not os.path.exists(work + "/fs"):
            time.sleep(0.05)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    pids = [process.pid] + [server.pid for server in servers]
    calls = None
    for line in process.stdout:
        words = line.split()
        if words[:1] == ["begin"] and len(words) == 5:
            side, name, irqs, start = words[1], words[2].replace("_", " "), int(words[3]), float(words[4])
            own, exits_before = processor_seconds(pids), exits(process.pid)
            calls = Calls(pids, work + "/calls") if count_calls else None
        elif words[:1] == ["end"] and len(words) == 3:
            print(json.dumps({"who": who if side == "share" else side, "name": name, "seconds": float(words[2]) - start,
                              "irqs": int(words[1]) - irqs, "exits": exits(process.pid) - exits_before,
                              "own": processor_seconds(pids) - own, "calls": calls.end() if calls else None}), flush=True)
    if process.wait() != 0:
        raise SystemExit(f"{who} ended with {process.returncode}")
    for server in servers:
        server.kill()
        server.wait()


def main():
    parser = argparse.ArgumentParser()
    for name in ("uvmm", "kernel", "root"):
        parser.add_argument("--" + name)
    for name in ("runs", "mebibytes", "count", "operations"):
        parser.add_argument("--" + name, type=int)
    parser.add_argument("--qemu", action="store_true")
    options = parser.parse_args()
    subprocess.run("mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug", shell=True, check=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
        os.mkdir(work + "/share")
        os.chmod(work, 0o755)
        for number in range(options.runs + (1 if options.qemu else 0)):
            counting = number == options.runs
            for who, command in commands(options, work).items():
                if who == "qemu" and (not options.qemu or counting or not os.path.exists(VIRTIOFSD)):
                    continue
                subprocess.run(f"rm -f {work}/disk {work}/fs; truncate -s 512M {work}/disk; mkfs.ext4 -q -E lazy_itable_init=0 {work}/disk",
                               shell=True, check=True)
                make_job(work + "/job", options, "vdc" if who == "uvmm" else "", counting)
                run(who, command, work, counting)


main()
