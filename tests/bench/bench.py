# SPDX-License-Identifier: Apache-2.0
"""The benchmarks. Started by run, which makes what they need and names it in the environment."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import block
import control
import net

BUILD = os.environ["BENCH_BUILD"]
UVMM = os.environ["UVMM"]
PAYLOADS = BUILD + "/payloads/"
TOOLS = BUILD + "/tests/bench/bench_"
RAM = 128 << 20

# What uvmm makes for a block device, a console and an rng: memory slots, ioeventfds, irqfds.
FLOOR = [TOOLS + "floor", "8", "4", "7"]
FLOOR_AGE_MS = "300"  # about what the payload late_poweroff waits


class Results:
    def __init__(self):
        self.rows = []

    def add(self, benchmark, value, unit, peer=None, peer_name="", target="", counts=""):
        """A row of the table. The ratio is value to peer."""
        self.rows.append({"benchmark": benchmark, "value": value, "unit": unit, "peer": peer, "peer_name": peer_name,
                          "ratio": value / peer if peer else None, "target": target, "counts": counts})
        print(f"  {self.line(self.rows[-1])}", file=sys.stderr)

    @staticmethod
    def line(row):
        peer = f"{row['peer']:.4g} ({row['peer_name']})" if row["peer"] else "-"
        ratio = f"{row['ratio']:.2g}" if row["ratio"] else "-"
        return (f"| {row['benchmark']} | {row['value']:.4g} {row['unit']} | {peer} | {ratio} | {row['target'] or '-'} "
                f"| {row['counts'] or '-'} |")

    def print_table(self):
        print("| benchmark | uvmm | peer, floor | ratio | target | counts |")
        print("|---|---|---|---|---|---|")
        for row in self.rows:
            print(self.line(row))


class Bench:
    def __init__(self, options, results, work):
        self.results = results
        self.smoke = options.smoke
        self.runs = options.runs or (3 if options.smoke else 11)
        self.boot_runs = options.runs or (1 if options.smoke else 9)
        self.work = work
        self.disk = work + "/disk"
        with open(self.disk, "wb") as disk:
            disk.truncate(16 << 20)

    program = UVMM

    def payload(self, name):
        return PAYLOADS + name + ".elf"

    def tool(self, name):
        return TOOLS + name

    def uvmm(self, payload, *more):
        return [UVMM, "--kernel", self.payload(payload), "--memory", str(RAM), "--disk", self.disk, *more]

    def measure(self, how, *commands, runs=None, where=()):
        """The samples of each command: [[values of a line of measure, ...], ...]."""
        call = [*where, TOOLS + "measure", "--runs", str(runs or self.runs), *how]
        for command in commands:
            call += ["--", *command]
        samples = [[] for _ in commands]
        for line in output_of(call).splitlines():
            number, *values = line.split()
            samples[int(number)].append([float(value) for value in values])
        return samples

    def library(self, what, path):
        samples = {}
        for line in output_of([TOOLS + "library", what, str(self.runs), path]).splitlines():
            variant, us = line.split()
            samples.setdefault(variant, []).append(float(us))
        return {variant: statistics.median(values) for variant, values in samples.items()}

    # --- the benchmarks

    def start(self):
        uvmm = self.uvmm("poweroff")
        ours, floor = self.measure(["--to-first-run"], uvmm, FLOOR)
        self.results.add("start: exec to KVM_RUN", median(ours) / 1000, "ms", median(floor) / 1000, "floor", "<= 1.3",
                         f"system calls {calls_to_first_run(uvmm)} (floor {calls_to_first_run(FLOOR)}), "
                         f"page faults {median(ours, 2):.0f} (floor {median(floor, 2):.0f})")
        self.results.add("start: the fastest", fastest(ours) / 1000, "ms", fastest(floor) / 1000, "floor")
        self.results.add("start: processor time", median(ours, 1) / 1000, "ms", median(floor, 1) / 1000, "floor")

    def create(self):
        us = self.library("create", PAYLOADS + "poweroff.elf")
        self.results.add("create: Vm::create to KVM_RUN", us["create"] / 1000, "ms")
        self.results.add("create: a Vm's destruction", us["destroy"] / 1000, "ms")
        each = self.library("many", PAYLOADS + "idle.elf")
        self.results.add("create: 100 at once, each", each["many-create"] / 1000, "ms")
        self.results.add("create: their destruction, each", each["many-destroy"] / 1000, "ms")
        self.results.add("create: memory of each of 100", each["many-kib"], "KiB", counts=f"{each['many-threads']:.0f} threads")

    def kernel_load(self):
        us = self.library("kernel-load", os.environ["BENCH_DEBIAN"])
        for variant, what in {"cold": "unpacked", "copied": "cached, copied", "mapped": "cached, mapped"}.items():
            self.results.add(f"kernel-load: {what}", us[variant] / 1000, "ms", us["read"] / 1000, "read()")

    def memory(self):
        kib = {}
        for cpus in (1, 4):
            with Idle(self.uvmm("idle", "--cpus", str(cpus))) as vm:
                kib[cpus], parts = monitor_memory(vm.pid)
            if cpus == 1:
                counts = ", ".join(f"{name} {size}" for name, size in parts)
        self.results.add("memory: monitor, 1 vCPU", kib[1], "KiB", target="<= 2048 KiB", counts=counts)
        self.results.add("memory: each further vCPU", (kib[4] - kib[1]) / 3, "KiB", target="<= 64 KiB")

    def idle(self):
        seconds = 1 if self.smoke else 10
        with Idle(self.uvmm("idle")) as vm:
            before = switches(vm.pid)
            time.sleep(seconds)
            after = switches(vm.pid)
        woken = {"vcpu": 0, "own": 0}
        for thread, (name, count) in after.items():
            woken["vcpu" if name.startswith("vcpu") else "own"] += count - before[thread][1]
        self.results.add("idle: wake-ups of own threads", woken["own"] / seconds, "/s", target="0",
                         counts=f"{len(after)} threads")
        self.results.add("idle: wake-ups of vCPU threads", woken["vcpu"] / seconds, "/s")

    def poweroff(self):
        ours, floor = self.measure(["--from", "ready"], self.uvmm("late_poweroff"), [*FLOOR, FLOOR_AGE_MS])
        self.results.add("poweroff: last byte to status", median(ours) / 1000, "ms", median(floor) / 1000, "floor",
                         "<= 1 ms")
        self.results.add("poweroff: the fastest", fastest(ours) / 1000, "ms", fastest(floor) / 1000, "floor")
        # Neither gets old: from the first byte of what each says.
        ours, floor = self.measure(["--from", ""], self.uvmm("hello"), FLOOR)
        self.results.add("poweroff: of a new VM", median(ours) / 1000, "ms", median(floor) / 1000, "floor")

    def block(self):
        block.run(self)

    def control(self):
        control.run(self)

    def net(self):
        net.run(self)

    def vsock(self):
        mebibytes, pings, connections, runs = (1, 20, 20, 1) if self.smoke else (64, 1000, 1000, self.boot_runs)
        text = output_of([os.environ["BENCH_HOST"], "--timeout", "0", "--", "python3", os.path.dirname(os.path.abspath(__file__)) + "/vsock_guests.py",
                          "--uvmm", UVMM, "--kernel", os.environ["BENCH_VSOCK_KERNEL"], "--root", os.environ["BENCH_VSOCK_ROOT"],
                          "--sockets", os.environ["BENCH_SOCKETS"], "--runs", str(runs), "--mebibytes", str(mebibytes),
                          "--pings", str(pings), "--connections", str(connections)])
        samples = {}
        for line in map(json.loads, filter(lambda line: line.startswith("{"), text.splitlines())):
            samples.setdefault(line["name"], {}).setdefault(line["who"], []).append(line)
        for name, by in samples.items():
            count = {"ping": pings, "connections": connections}.get(name, mebibytes)
            of = {"ping": "us", "connections": "/s"}.get(name, "MiB/s")

            def value(who):
                seconds = statistics.median(sample["seconds"] for sample in by[who])
                return seconds / count * 1e6 if of == "us" else count / max(seconds, 0.01)

            def each(what, who):
                return f"{statistics.median(sample[what] for sample in by[who]) / count:.3g}"

            counts = ", ".join(f"{who}: {each('exits', who)} exits, {each('irqs', who)} irqs, {each('calls', who)} calls" for who in by)
            unit = {"ping": "round trip", "connections": "connection"}.get(name, "MiB")
            target = "<= 0.5" if name == "ping" else ">= 2" if of == "MiB/s" else ""
            self.results.add(f"vsock: {name}", value("uvmm"), of, value("tcp"), "TCP over tap", target, f"each {unit}: {counts}")
            self.results.add(f"vsock: {name}", value("uvmm"), of, value("vhost"), "QEMU, vhost-vsock")

    def fs(self):
        mebibytes, count, operations, runs = (1, 20, 50, 1) if self.smoke else (32, 1000, 1000, self.boot_runs)
        text = output_of([os.environ["BENCH_HOST"], "--timeout", "0", "--", "python3", os.path.dirname(os.path.abspath(__file__)) + "/fs_guests.py",
                          "--uvmm", UVMM, "--kernel", os.environ["BENCH_FS_KERNEL"], "--root", os.environ["BENCH_FS_ROOT"],
                          "--runs", str(runs), "--mebibytes", str(mebibytes), "--count", str(count), "--operations", str(operations),
                          *([] if self.smoke else ["--qemu"])])
        samples = {}
        for line in map(json.loads, filter(lambda line: line.startswith("{"), text.splitlines())):
            samples.setdefault(line["name"], {}).setdefault(line["who"], []).append(line)
        for name, by in samples.items():
            requests = mebibytes if name.startswith(("read", "write")) else operations // 50 if "1 MiB" in name else \
                operations if name.startswith("random") else count
            data = name.startswith(("read", "write", "random"))

            def rate(who):
                return requests / max(0.01, statistics.median(sample["seconds"] for sample in by[who] if sample["calls"] is None))

            def each(what, who):
                values = [sample[what] for sample in by[who] if (sample["calls"] is not None) == (what == "calls")]
                return f"{statistics.median(values) / requests:.3g}" if values else "-"

            counts = "; ".join(f"{who}: {each('exits', who)} exits, {each('irqs', who)} irqs, {each('calls', who)} calls" for who in by)
            of = "MiB/s" if name.startswith(("read", "write")) else "/s"
            self.results.add(f"fs: {name}", rate("uvmm"), of, rate("disk"), "ext4 on virtio-blk", "" if data else ">= 0.67", f"each: {counts}")
            if "qemu" in by:
                self.results.add(f"fs: {name}", rate("uvmm"), of, rate("qemu"), "QEMU, virtiofsd", ">= 1.5")

    def boot(self):
        for name, kernel, initrd, target in guests():
            uvmm, qemu = boot_commands(kernel, initrd)
            # The first boot of uvmm, which unpacks the kernel, does not count: a run more, of which it is the first.
            ours, peer = self.measure(["--to", "init"], uvmm, qemu, runs=self.boot_runs + 1,
                                      where=[os.environ["BENCH_HOST"], "--timeout", "0", "--"])
            self.results.add(f"boot: exec to init, {name}", median(ours[1:]) / 1e6, "s", median(peer[1:]) / 1e6,
                             "QEMU microvm", target)

    def exits(self):
        for name, kernel, initrd, _ in guests():
            uvmm, _ = boot_commands(kernel, initrd)
            text = output_of([os.environ["BENCH_HOST"], "--", *uvmm, "-v"], stderr=subprocess.STDOUT)
            found = re.search(r"exits: (.*)", text)
            if not found:
                sys.exit(f"bench: uvmm does not tell its exits:\n{text}")
            counts = dict(part.split() for part in found[1].strip().split(", "))
            self.results.add(f"exits: boot and power-off, {name}", sum(map(int, counts.values())), "exits", target="< 1500",
                             counts=found[1].strip())


class Idle:
    """A VM that has said that it idles, and whose start is over."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def __enter__(self):
        if self.process.stdout.readline() != b"idle\n":
            sys.exit("bench: the guest does not start")
        time.sleep(2.5)
        return self.process

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def output_of(command, stderr=None):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: status {done.returncode} of {' '.join(command)}\n{done.stdout}")
    return done.stdout


def median(samples, column=0):
    return statistics.median(sample[column] for sample in samples)


def fastest(samples):
    return min(sample[0] for sample in samples)


def calls_to_first_run(command):
    """System calls from exec to KVM_RUN, of all threads."""
    with tempfile.NamedTemporaryFile("r") as trace:
        output_of(["strace", "-f", "-o", trace.name, *command])
        for number, line in enumerate(trace):
            if "KVM_RUN" in line:
                return number
    sys.exit("bench: no KVM_RUN")


def monitor_memory(pid):
    """KiB resident in mappings that are not guest RAM, and the largest of these as (name, KiB)."""
    ram = None
    total, parts = 0, {}
    for mapping in read_smaps(pid):
        # Guest RAM is what is left out of core dumps; files may be mapped over parts of it.
        if ram is None and "dd" in mapping["flags"]:
            ram = range(mapping["start"], mapping["start"] + RAM)
        if ram and mapping["start"] in ram:
            continue
        total += mapping["rss"]
        parts[mapping["name"]] = parts.get(mapping["name"], 0) + mapping["rss"]
    return total, sorted(parts.items(), key=lambda part: -part[1])[:4]


def read_smaps(pid):
    mappings = []
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            first, *rest = line.split()
            if "-" in first:
                path = os.path.basename(rest[4]) if len(rest) > 4 else "anonymous"
                mappings.append({"start": int(first.split("-")[0], 16), "name": f"{path} {rest[0]}"})
            elif first == "Rss:":
                mappings[-1]["rss"] = int(rest[0])
            elif first == "VmFlags:":
                mappings[-1]["flags"] = rest
    return mappings


def switches(pid):
    """How often each thread has given up or lost its processor: {thread: (name, count)}."""
    result = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status") as status:
            fields = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
        result[thread] = (fields["Name"], int(fields["voluntary_ctxt_switches"]))
    return result


def guests():
    """(name, kernel, initrd, target of boot) of the Linux guests."""
    if os.environ["BENCH_CUSTOM"]:
        yield "purpose-built kernel", os.environ["BENCH_CUSTOM"], None, "<= 0.75"
    yield "Debian kernel and initrd", os.environ["BENCH_DEBIAN"], os.environ["BENCH_INITRD"], "<= 0.45"


def boot_commands(kernel, initrd):
    """uvmm and QEMU, with the same machine as far as they have it."""
    root = os.environ["BENCH_ROOT"]
    quiet = "quiet loglevel=0"
    uvmm = [UVMM, "--memory", "512M", "--kernel", kernel, "--disk", root + ",root", "--cmdline", quiet]
    qemu = ["qemu-system-x86_64", "-M", "microvm,pcie=on,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=off",
            "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", "512", "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-device", "virtio-serial-pci", "-chardev", "stdio,id=console",
            "-device", "virtconsole,chardev=console", "-device", "virtio-rng-pci",
            "-drive", f"if=none,id=root,file={root},format=raw,readonly=on", "-device", "virtio-blk-pci,drive=root",
            "-kernel", kernel, "-append",
            f"console=hvc0 panic=-1 reboot=t root=/dev/vda rootfstype=erofs ro {quiet}"]
    if initrd:
        uvmm += ["--initrd", initrd]
        qemu += ["-initrd", initrd]
    return uvmm, qemu


def main():
    benchmarks = {name: getattr(Bench, name.replace("-", "_"))
                  for name in ("start", "create", "kernel-load", "memory", "idle", "poweroff", "block", "control", "net", "vsock", "fs", "boot", "exits")}
    parser = argparse.ArgumentParser()
    parser.add_argument("--json")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for name in options.names:
        if name not in benchmarks:
            sys.exit(f"bench: no benchmark {name}; there are {', '.join(benchmarks)}")

    results = Results()
    with tempfile.TemporaryDirectory(prefix="uvmm-bench.") as work:
        bench = Bench(options, results, work)
        for name in options.names or benchmarks:
            print(f"{name} ...", file=sys.stderr)
            benchmarks[name](bench)
    results.print_table()
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results.rows, file, indent=2)
            file.write("\n")


main()
