# SPDX-License-Identifier: Apache-2.0
"""The control benchmark: how long a disk takes for a guest while somebody asks for the VM's statistics a thousand times a second."""

import os
import re
import statistics
import subprocess

import block

RATE = 1000


def run(bench):
    seconds = 0.1 if bench.smoke else 2
    file = bench.work + "/control-disk"
    with open(file, "wb") as disk:
        disk.write(os.urandom(16 << 20))
    khz = block.tsc_khz()
    quiet, asked, loads = [], [], []
    for _ in range(bench.runs):
        quiet.append(of_guest(bench, file, seconds, khz)[0])
        times, load = of_guest(bench, file, seconds, khz, bench.tool("control_load"))
        asked.append(times)
        loads.append(load)

    def median(samples, which):
        return statistics.median(sample[which] for sample in samples)

    for which, name, target in ((0, "half", ""), (1, "99 of 100", "<= 1.1"), (2, "999 of 1000", "")):
        counts = ""
        if which == 1:
            counts = (f"{median(loads, 0):.0f} answers a second, {median(loads, 1):.0f} late; "
                      f"the control thread took {median(loads, 2):.1f} us for each")
        bench.results.add(f"control: {name} of the reads within, {RATE} requests a second", median(asked, which), "us",
                          median(quiet, which), "without", target, counts)


def of_guest(bench, file, seconds, khz, client=None):
    """((the median, 99th and 999th request in us), (answers a second, late ones, us of the control thread for each))"""
    ticks = int(seconds * khz * 1000)
    path = bench.work + "/control"
    command = [bench.program, "--kernel", bench.payload("block_speed"), "--memory", "128M", "--disk", file + ",queues=1",
               "--no-default-cmdline", "--cmdline", f"latency=1 ticks={ticks} warmup={ticks // 4}", "--control", path]
    text, asking, cpu, load = "", None, 0, None
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as vm:
        block.pin(vm.pid)
        control = thread_named(vm.pid, "control")
        os.sched_setaffinity(control, spare_cpus())
        for line in vm.stdout:
            text += line
            if line == "start\n" and client:
                cpu -= block.processor_ns(vm.pid, control)
                asking = subprocess.Popen([client, path, str(RATE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                os.sched_setaffinity(asking.pid, spare_cpus())
            if line.startswith("requests") and asking:
                said = asking.communicate()[0]
                cpu += block.processor_ns(vm.pid, control)
                answers, late = map(int, re.match(r"answers (\d+) late (\d+)", said).groups())
                load = (answers / seconds, late, cpu / 1000 / max(answers, 1))
    found = re.search(r"latency (\d+) (\d+) (\d+)", text)
    if not found:
        raise SystemExit(f"bench: the guest says\n{text}")
    return [int(ticks) / khz * 1000 for ticks in found.groups()], load


def thread_named(pid, wanted):
    for thread in map(int, os.listdir(f"/proc/{pid}/task")):
        with open(f"/proc/{pid}/task/{thread}/comm") as name:
            if name.read() == wanted + "\n":
                return thread
    raise SystemExit(f"bench: there is no thread {wanted}")


def spare_cpus():
    """Those that neither the guest nor the I/O thread has, or else the latter's."""
    return set(os.sched_getaffinity(0)) - {block.GUEST_CPU, block.IO_CPU} or {block.IO_CPU}
