# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks with Linux guests share: a guest that runs a job, of uvmm and of QEMU, and what the host sees of it."""

import os
import re

TICKS = os.sysconf("SC_CLK_TCK")
QUIET = "quiet loglevel=0"


def write_job(path, script):
    """The disk from which a guest takes its job: see guest-images/job.sh."""
    with open(path, "wb") as disk:
        disk.write(bytes(512) + script.encode())
        disk.truncate((512 + len(script.encode()) + 4095) // 4096 * 4096)


def uvmm_command(options, job, memory, more=(), cmdline=QUIET):
    return [options.uvmm, "--memory", memory, "--kernel", options.kernel, "--disk", options.root + ",root", "--cmdline", cmdline,
            "--disk", job + ",serial=uvmm-job", *more]


def qemu_command(options, job, mebibytes, more=(), cmdline=QUIET, machine=""):
    return ["qemu-system-x86_64", "-M", "microvm,pcie=on,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=off" + machine,
            "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", str(mebibytes), "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-name", "bench,debug-threads=on", "-device", "virtio-serial-pci", "-chardev", "stdio,id=console",
            "-device", "virtconsole,chardev=console", "-device", "virtio-rng-pci",
            "-drive", f"if=none,id=root,file={options.root},format=raw,readonly=on", "-device", "virtio-blk-pci,drive=root",
            "-drive", f"if=none,id=job,file={job},format=raw", "-device", "virtio-blk-pci,drive=job,serial=uvmm-job",
            *more, "-kernel", options.kernel, "-append",
            f"console=hvc0 panic=-1 reboot=t root=/dev/vda rootfstype=erofs ro {cmdline}"]


def name_and_seconds(stat):
    name, fields = re.match(r"\d+ \((.*)\) (.*)", stat).groups()
    return name, sum(map(int, fields.split()[11:13])) / TICKS


def threads(pid):
    """(id, name, processor seconds); io_uring's workers come and go."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/stat") as stat:
                yield thread, *name_and_seconds(stat.read())
        except FileNotFoundError:
            pass


def runs_guest(name):
    return name.startswith(("vcpu", "CPU "))


def exits(pid):
    for directory in os.listdir("/sys/kernel/debug/kvm"):
        if directory.startswith(f"{pid}-"):
            with open(f"/sys/kernel/debug/kvm/{directory}/exits") as file:
                return int(file.read())
    return 0


def own_threads(pid):
    """Of the monitor, those that run no guest code: (id, processor seconds)."""
    return [(thread, seconds) for thread, name, seconds in threads(pid) if not runs_guest(name)]


def processor_seconds(pid):
    return sum(seconds for _, seconds in own_threads(pid))


SYSTEM_CALLS = "/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter"


def count_system_calls():
    """From now on, by thread; where the kernel cannot, none are counted."""
    if os.path.exists(SYSTEM_CALLS + "/hist"):
        with open(SYSTEM_CALLS + "/trigger", "w") as trigger:
            trigger.write("hist:keys=common_pid:size=8192")


def system_calls(pid):
    if not os.path.exists(SYSTEM_CALLS + "/hist"):
        return 0
    with open(SYSTEM_CALLS + "/hist") as hist:
        counts = dict(re.findall(r"{ common_pid: +(\d+) *} hitcount: +(\d+)", hist.read()))
    return sum(int(counts.get(thread, 0)) for thread, _ in own_threads(pid))
