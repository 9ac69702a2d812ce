# SPDX-License-Identifier: Apache-2.0
"""The network benchmarks: a payload guest at a tap against a bare program, and Linux guests against QEMU's."""

import json
import os
import re
import statistics
import subprocess

from block import GUEST_CPU, IO_CPU, pin, processor_ns, tsc_khz

TAP = "uvmm-bench"
MTU = 65521  # of the payload's tap, so that the host, too, sends frames of
LONGEST = MTU + 14
NETWORK = ["unshare", "--net"]  # a network of its own, which goes with it


def run(bench):
    if os.geteuid() != 0:
        print("  net: only root can make taps", flush=True)
        return
    payload(bench)
    if not bench.smoke:
        guests(bench)


# --- the data path alone


def payload(bench):
    seconds = 0.05 if bench.smoke else 0.5
    khz = tsc_khz()
    for receive in (False, True):
        for size in (60, 1514, LONGEST):
            ours, peer = [], []
            for _ in range(bench.runs):
                ours.append(of_guest(bench, receive, size, seconds, khz))
                peer.append(of_program(bench, receive, size, seconds))
            counts = (f"system calls {statistics.median(sample['calls'] for sample in ours):.3f}, "
                      f"doorbells {statistics.median(sample['kicks'] for sample in ours):.3f}, "
                      f"processor {cpu_of(ours):.2f} us a frame, of the bare program {cpu_of(peer):.2f}"
                      f"; {cpu_of(ours) / size * 1000:.2f} s a GB")
            what = "received" if receive else "sent"
            bench.results.add(f"net: frames of {size} bytes {what} at CPL 3",
                              statistics.median(sample["rate"] for sample in ours) / 1000, "k/s",
                              statistics.median(sample["rate"] for sample in peer) / 1000, f"bare {'read' if receive else 'write'}()", counts=counts)


def cpu_of(samples):
    return statistics.median(sample["cpu"] for sample in samples) / 1000


def of_guest(bench, receive, size, seconds, khz):
    log = bench.work + "/net.log"
    guest = f"receive={int(receive)} bytes={size} depth={256 if receive else 128} large=1 ticks={int(seconds * khz * 1000)}"
    command = [*NETWORK, bench.program, "--kernel", bench.payload("net_speed"), "--memory", "128M", "--net", f"tap={TAP},mtu={MTU}",
               "--no-default-cmdline", "--cmdline", guest, "-vv", "--log-file", log]
    if os.path.exists(log):
        os.remove(log)
    flooder = None
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as vm:
        pin(vm.pid)
        if receive:
            flooder = subprocess.Popen(["taskset", "-c", str(GUEST_CPU), "nsenter", "--target", str(vm.pid), "--net",
                                        bench.tool("tap_peer"), "flood", TAP, str(size)])
        text, cpu = "", 0
        for line in vm.stdout:
            text += line
            if line == "start\n":
                cpu -= processor_ns(vm.pid)
            if line.startswith("frames"):
                cpu += processor_ns(vm.pid)
                if flooder:
                    flooder.kill()
    if flooder:
        flooder.wait()
    measured = re.search(r"frames (\d+) bytes \d+ ticks (\d+) kicks (\d+)", text)
    if not measured:
        raise SystemExit(f"bench: the guest says\n{text}")
    with open(log) as lines:
        calls = int(re.search(r"I/O thread: (\d+) system calls", lines.read())[1])
    frames = max(int(measured[1]), 1)
    return {"rate": frames * khz * 1000 / int(measured[2]), "cpu": cpu / frames, "calls": calls / frames,
            "kicks": int(measured[3]) / frames}


def of_program(bench, receive, size, seconds):
    command = ["taskset", "-c", str(IO_CPU), *NETWORK, bench.tool("tap_peer"), "read" if receive else "write", TAP,
               str(int(seconds * 1000)), str(size), str(MTU)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    frames, nanoseconds, cpu = map(int, re.search(r"frames (\d+) nanoseconds (\d+) processor (\d+)", done.stdout).groups())
    return {"rate": frames * 1e9 / nanoseconds, "cpu": cpu / max(frames, 1)}


# --- Linux guests

ROWS = {"tcp-out": ("TCP from the guest", 1e6, "Mbit/s", ">= 1.5"), "tcp-in": ("TCP to the guest", 1e6, "Mbit/s", ">= 1.5"),
        "udp-out": ("UDP of 1500 bytes from the guest", 1, "packets/s", ">= 1.5"),
        "udp-in": ("UDP of 1500 bytes to the guest", 1, "packets/s", ">= 1.5"),
        "ping": ("round trip", 1, "ms", "")}


def guests(bench):
    call = [os.environ["BENCH_HOST"], "--timeout", "0", "--", "python3", os.path.dirname(__file__) + "/net_guests.py",
            "--uvmm", bench.program, "--kernel", os.environ["BENCH_CUSTOM"], "--root", os.environ["BENCH_NET_ROOT"],
            "--busybox", os.environ["BENCH_BUSYBOX"], "--runs", str(bench.boot_runs), "--seconds", "3", "--pings", "300"]
    done = subprocess.run(call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    samples = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def of(who, name, key):
        return statistics.median(key(sample) for sample in samples if (sample["who"], sample["name"]) == (who, name))

    for name, (title, unit, unit_name, target) in ROWS.items():
        ours, peer = (of(who, name, lambda sample: sample["value"]) for who in ("uvmm", "qemu"))
        scale, moved = (1e9, "GB") if name.startswith("tcp") else (1, "packet")

        def each(who, key):
            return of(who, name, lambda sample: sample[key] / sample["moved"] * scale)

        counts = ""
        if name != "ping":
            counts = "; ".join(f"{who}: processor {each(who, 'own'):.3g} s, {each(who, 'calls'):.3g} system calls and "
                               f"{each(who, 'exits'):.3g} exits a {moved}" for who in ("uvmm", "qemu"))
        bench.results.add(f"net: {title}", ours / unit, unit_name, peer / unit, "QEMU without vhost", target, counts)
