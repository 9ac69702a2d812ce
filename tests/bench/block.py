# SPDX-License-Identifier: Apache-2.0
"""The block benchmark: a payload guest that keeps a disk busy, against fio on the same file."""

import fcntl
import json
import os
import re
import statistics
import subprocess
import time

GUEST_CPU, IO_CPU = 1, 0  # of the vCPU, which polls; of the I/O thread, and of fio


class Load:
    def __init__(self, depth, queues, size, write, direct):
        self.depth, self.queues, self.size, self.write, self.direct = depth, queues, size, write, direct

    def __str__(self):
        return (f"{self.size >> 10} KiB {'write' if self.write else 'read'}, "
                f"{'O_DIRECT' if self.direct else 'page cache'}, depth {self.depth}, "
                f"{self.queues} queue{'s' if self.queues > 1 else ''}")

    def target(self):
        wanted = (self.size, self.write, self.direct, self.depth, self.queues) == (4096, False, False, 32, 1)
        return ">= 0.8; calls <= 0.1" if wanted else ""


def loads(smoke):
    if smoke:
        yield Load(32, 4, 4096, False, False)
        yield Load(1, 1, 4096, True, True)
        return
    for direct in (False, True):
        for write in (False, True):
            for size in (4096, 128 << 10):
                for depth in (1, 32):
                    for queues in (1, 4):
                        yield Load(depth, queues, size, write, direct)


def run(bench):
    seconds = 0.02 if bench.smoke else 0.4
    file = bench.work + "/block"
    # Not too large to stay in the page cache, nor to be written back within a run.
    with open(file, "wb") as disk:
        for _ in range(16 if bench.smoke else 512):
            disk.write(os.urandom(1 << 20))
    os.sync()
    khz = tsc_khz()
    for load in loads(bench.smoke):
        ours, peer, host = [], [], []
        for _ in range(bench.runs):
            ours.append(of_guest(bench, load, file, seconds, khz))
            peer.append(of_fio(load, file, seconds, "io_uring"))
            if load.depth == load.queues == 1:
                host.append(of_fio(load, file, seconds, "psync"))
        rate = statistics.median(sample["rate"] for sample in ours)
        counts = (f"system calls {statistics.median(sample['calls'] for sample in ours):.3f}, "
                  f"processor {statistics.median(sample['cpu'] for sample in ours) / 1000:.2f} us a request")
        if host:
            added = 1e6 / rate - 1e6 / statistics.median(host)
            counts += f"; latency {added:+.1f} us over p{'write' if load.write else 'read'}"
        bench.results.add(f"block: {load}", rate / 1000, "k/s", statistics.median(peer) / 1000, "fio", load.target(),
                          counts)


def of_guest(bench, load, file, seconds, khz):
    ticks = int(seconds * khz * 1000)
    guest = (f"depth={load.depth} queues={load.queues} bytes={load.size} write={int(load.write)} "
             f"ticks={ticks} warmup={ticks // 4}")
    log = bench.work + "/block.log"
    disk = f"{file},queues={load.queues}" + (",direct" if load.direct else "")
    command = [bench.program, "--kernel", bench.payload("block_speed"), "--memory", "128M", "--disk", disk,
               "--no-default-cmdline", "--cmdline", guest, "-vv", "--log-file", log]
    if os.path.exists(log):
        os.remove(log)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as vm:
        pin(vm.pid)
        text, cpu = "", 0
        for line in vm.stdout:
            text += line
            if line == "start\n":
                cpu -= processor_ns(vm.pid)
            if line.startswith("requests"):
                cpu += processor_ns(vm.pid)
    measured = re.search(r"requests (\d+) ticks (\d+)", text)
    everything = re.search(r"ok, (\d+) requests", text)
    if not measured or not everything:
        raise SystemExit(f"bench: the guest says\n{text}")
    with open(log) as lines:
        calls = int(re.search(r"I/O thread: (\d+) system calls", lines.read())[1])
    requests = int(measured[1])
    return {"rate": requests * khz * 1000 / int(measured[2]), "cpu": cpu / max(requests, 1),
            "calls": calls / int(everything[1])}


def of_fio(load, file, seconds, engine):
    # Half of the depth at a time, which is where it is fastest; by itself it makes a system call for each request.
    batch = max(load.depth // 2, 1)
    command = ["fio", "--name=peer", "--filename=" + file, "--ioengine=" + engine, "--thread", "--group_reporting",
               f"--rw=rand{'write' if load.write else 'read'}", f"--bs={load.size}", f"--iodepth={load.depth}",
               f"--iodepth_batch_submit={batch}", f"--iodepth_batch_complete_min={batch}",
               f"--iodepth_batch_complete_max={load.depth}", f"--numjobs={load.queues}", f"--direct={int(load.direct)}",
               "--time_based", f"--runtime={int(seconds * 1000)}ms", f"--ramp_time={int(seconds * 250)}ms",
               "--norandommap", "--randrepeat=0", "--invalidate=0", "--output-format=json"]
    if os.cpu_count() > 1:
        command.append(f"--cpus_allowed={IO_CPU}")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    return job["write" if load.write else "read"]["iops"]


def pin(pid):
    """The vCPU's thread to one processor, all else to another, as soon as it is there."""
    while os.cpu_count() > 1:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/comm") as name:
                if name.read() != "vcpu0\n":
                    continue
            os.sched_setaffinity(pid, {IO_CPU})
            os.sched_setaffinity(int(thread), {GUEST_CPU})
            return
        time.sleep(0.001)


def processor_ns(pid, thread=None):
    with open(f"/proc/{pid}/task/{thread or pid}/schedstat") as stat:
        return int(stat.read().split()[0])


def tsc_khz():
    """As KVM knows it; the guest's counter goes as fast."""
    create_vm, create_vcpu, get_tsc_khz = 0xAE01, 0xAE41, 0xAEA3
    with open("/dev/kvm", "rb", buffering=0) as kvm:
        vm = fcntl.ioctl(kvm, create_vm, 0)
        vcpu = fcntl.ioctl(vm, create_vcpu, 0)
        khz = fcntl.ioctl(vcpu, get_tsc_khz, 0)
        os.close(vcpu)
        os.close(vm)
    return khz
