# SPDX-License-Identifier: Apache-2.0
"""Linux guests that send and receive over a tap: uvmm and QEMU in turn. Runs in the test host, started by net.py.

Prints a line of JSON for each measurement: who, what, a value, bytes or packets, and the monitor's processor seconds, system calls and exits.
"""

import argparse
import json
import re
import subprocess
import tempfile

from guests import count_system_calls, exits, processor_seconds, qemu_command, system_calls, uvmm_command, write_job

HOST, GUEST, TAP, MAC = "10.9.0.1", "10.9.0.2", "bench0", "52:54:00:00:00:01"
UDP_BYTES = 1472

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


def commands(options, job):
    qemu = ["-mem-prealloc", "-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no,vhost=off",
            "-device", f"virtio-net-pci,netdev=net,mac={MAC}"]
    return {"uvmm": uvmm_command(options, job, "512M,prefault", ["--net", f"tap={TAP},mac={MAC}"]),
            "qemu": qemu_command(options, job, 512, qemu)}


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
            own, exits_before, calls = processor_seconds(process.pid), exits(process.pid), system_calls(process.pid)
            text = ""
        elif word == "end":
            own, calls = processor_seconds(process.pid) - own, system_calls(process.pid) - calls
            value, moved = value_of(name, text)
            print(json.dumps({"who": who, "name": name, "value": value, "moved": moved, "own": own, "calls": calls,
                              "exits": exits(process.pid) - exits_before}), flush=True)
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
    count_system_calls()
    sh(f"ip tuntap add {TAP} mode tap && ip address add {HOST}/24 dev {TAP} && ip link set {TAP} up")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
        with open(work + "/udhcpd", "w") as file:
            file.write(f"start {GUEST}\nend {GUEST}\ninterface {TAP}\nlease_file {work}/leases\npidfile {work}/pid\n")
        open(work + "/leases", "w").close()
        servers = [subprocess.Popen([options.busybox, "udhcpd", "-f", work + "/udhcpd"], stderr=subprocess.DEVNULL),
                   subprocess.Popen(["iperf3", "-s"], stdout=subprocess.DEVNULL)]
        for _ in range(options.runs):
            for who in ("uvmm", "qemu"):
                write_job(work + "/job", f"seconds={options.seconds} pings={options.pings}\n{JOB}")
                run(who, commands(options, work + "/job")[who])
        for server in servers:
            server.kill()


main()
