# SPDX-License-Identifier: Apache-2.0
"""Linux guests that send and receive over a tap: uvmm and QEMU in turn. Runs in the test host, started by net.py.

Prints a line of JSON for each measurement: who, what, a value, seconds of the monitor's processor time, exits, and bytes.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile

HOST, GUEST, TAP, MAC = "10.9.0.1", "10.9.0.2", "bench0", "52:54:00:00:00:01"
UDP_BYTES = 1472
TICKS = os.sysconf("SC_CLK_TCK")

# What a guest does. Each measurement is on its console between two lines that say so.
JOB = f"""
begin() {{ echo "begin $1"; sleep 0.2; }}
ping -c 2 {HOST} >/dev/null || {{ echo "no network"; exit 1; }}
measure() {{ name=$1; shift; begin $name; iperf3 -c {HOST} -t $seconds -J "$@" | tr -d '\\n\\t '; echo; echo "end $name"; }}
measure tcp-out
measure tcp-in -R
measure udp-out -u -b 0 -l {UDP_BYTES}
measure udp-in -u -b 0 -l {UDP_BYTES} -R
begin ping
ping -A -q -c $pings {HOST} | tail -n 1 | tr -d '\\n'; echo
echo "end ping"
"""


def sh(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)


def make_job(path, seconds, pings):
    script = f"seconds={seconds} pings={pings}\n{JOB}".encode()
    with open(path, "wb") as disk:
        disk.write(bytes(512) + script)
        disk.truncate((512 + len(script) + 4095) // 4096 * 4096)


def commands(options, job):
    quiet = "quiet loglevel=0"
    uvmm = [options.uvmm, "--memory", "512M,prefault", "--kernel", options.kernel, "--disk", options.root + ",root", "--cmdline", quiet,
            "--disk", job + ",serial=uvmm-job", "--net", f"tap={TAP},mac={MAC}"]
    qemu = ["qemu-system-x86_64", "-M", "microvm,pcie=on,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=off",
            "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", "512", "-mem-prealloc", "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-name", "bench,debug-threads=on", "-device", "virtio-serial-pci", "-chardev", "stdio,id=console",
            "-device", "virtconsole,chardev=console", "-device", "virtio-rng-pci",
            "-drive", f"if=none,id=root,file={options.root},format=raw,readonly=on", "-device", "virtio-blk-pci,drive=root",
            "-drive", f"if=none,id=job,file={job},format=raw", "-device", "virtio-blk-pci,drive=job,serial=uvmm-job",
            "-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no,vhost=off", "-device", f"virtio-net-pci,netdev=net,mac={MAC}",
            "-kernel", options.kernel, "-append",
            f"console=hvc0 panic=-1 reboot=t root=/dev/vda rootfstype=erofs ro {quiet}"]
    return {"uvmm": uvmm, "qemu": qemu}


def processor_seconds(pid):
    """Of all its threads but those that run guest code, and of these."""
    own = vcpus = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat") as stat:
            name, fields = re.match(r"\d+ \((.*)\) (.*)", stat.read()).groups()
        used = sum(map(int, fields.split()[11:13])) / TICKS
        if name.startswith("vcpu") or name.startswith("CPU "):
            vcpus += used
        else:
            own += used
    return own, vcpus


def exits(pid):
    for directory in os.listdir("/sys/kernel/debug/kvm"):
        if directory.startswith(f"{pid}-"):
            with open(f"/sys/kernel/debug/kvm/{directory}/exits") as file:
                return int(file.read())
    return 0


def value_of(name, text):
    """The measurement's value, and how many bytes or packets it moved."""
    if name == "ping":
        return float(re.search(r"= [0-9.]+/([0-9.]+)/", text)[1]), 0
    end = json.loads(text[text.index("{"):])["end"]  # warnings come first
    if name.startswith("tcp"):
        return end["sum_received"]["bits_per_second"], end["sum_received"]["bytes"]
    packets = end["sum"]["packets"] - end["sum"]["lost_packets"]
    return packets / end["sum"]["seconds"], packets


def run(who, command):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    text = ""
    for line in process.stdout:
        word, _, name = line.strip().partition(" ")
        if word == "begin":
            before, exits_before, text = processor_seconds(process.pid), exits(process.pid), ""
        elif word == "end":
            after = processor_seconds(process.pid)
            value, moved = value_of(name, text)
            print(json.dumps({"who": who, "name": name, "value": value, "moved": moved, "own": after[0] - before[0],
                              "vcpus": after[1] - before[1], "exits": exits(process.pid) - exits_before}), flush=True)
        else:
            text += line
    if process.wait() != 0:
        raise SystemExit(f"{who} ended with {process.returncode}: {text}")


def main():
    parser = argparse.ArgumentParser()
    for name in ("uvmm", "kernel", "root", "busybox"):
        parser.add_argument("--" + name)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--pings", type=int)
    options = parser.parse_args()
    sh("mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug")
    sh(f"ip tuntap add {TAP} mode tap && ip address add {HOST}/24 dev {TAP} && ip link set {TAP} up")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
        with open(work + "/udhcpd", "w") as file:
            file.write(f"start {GUEST}\nend {GUEST}\ninterface {TAP}\nlease_file {work}/leases\npidfile {work}/pid\n")
        open(work + "/leases", "w").close()
        servers = [subprocess.Popen([options.busybox, "udhcpd", "-f", work + "/udhcpd"], stderr=subprocess.DEVNULL),
                   subprocess.Popen(["iperf3", "-s"], stdout=subprocess.DEVNULL)]
        for _ in range(options.runs):
            for who in ("uvmm", "qemu"):
                make_job(work + "/job", options.seconds, options.pings)
                run(who, commands(options, work + "/job")[who])
        for server in servers:
            server.kill()


main()
