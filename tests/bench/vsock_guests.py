# SPDX-License-Identifier: Apache-2.0
"""Linux guests that talk to programs of the host: by uvmm's socket device, by QEMU's with vhost-vsock, and by TCP over uvmm's tap, in
turn. Runs in the test host, started by bench.py.

Prints a line of JSON for each measurement: who, what, seconds, bytes or counts, VM exits, interrupts, the monitor's processor seconds.
"""

import argparse
import json
import subprocess
import tempfile

from guests import count_system_calls, exits, processor_seconds, qemu_command, system_calls, uvmm_command, write_job

HOST, GUEST, TAP, CID = "10.9.1.1", "10.9.1.2", "bench1", 42
FIRST_PORT, ECHO_PORT = 5000, 4999


def measurements(mebibytes):
    """(name, connections, command in the guest, program on the host); each has the ports from its own first one on."""
    result = []
    port = FIRST_PORT
    for connections in (1, 8):
        for chunk in (1 << 16, 1 << 20):
            size = (mebibytes << 20) // connections
            for way in ("out", "in"):
                guest, host = (f"send {size} {chunk}", f"receive {chunk}")
                if way == "in":
                    guest, host = host, guest
                result.append((f"{way} {chunk >> 10} KiB x {connections}", port, connections, guest, host))
                port += connections
    return result


JOB = """
begin() { echo; echo "begin $1 $(irqs) $(cut -d' ' -f1 /proc/uptime)"; }
end() { echo; echo "end $(irqs) $(cut -d' ' -f1 /proc/uptime)"; }
irqs() { awk '/virtio/ { for (i = 2; i <= 1 + cpus; ++i) sum += $i } END { print sum + 0 }' cpus=1 /proc/interrupts; }
stream() {  # NAME FIRST-PORT CONNECTIONS ACTION...
  name=$1 port=$2 last=$(($2 + $3 - 1)); shift 3
  begin "$name"
  for p in $(seq $port $last); do sockets connect $peer:$p "$@" >/dev/null & done
  wait
  end
}
"""


def make_job(path, peer, options):
    script = f"peer={peer}\n{JOB}"
    if peer.startswith("tcp"):
        script += f"ifconfig eth0 {GUEST} up; ping -c 1 {HOST} >/dev/null\n"
    for name, port, connections, guest, _ in measurements(options.mebibytes):
        script += f"stream {name.replace(' ', '_')} {port} {connections} {guest}\n"
    script += f"begin ping; sockets connect $peer:{ECHO_PORT} ping {options.pings} >/dev/null; end\n"
    script += f"begin connections; sockets connect $peer:{ECHO_PORT} storm {options.connections} 2 >/dev/null; end\n"
    write_job(path, script)


def commands(options, job, socket):
    uvmm = uvmm_command(options, job, "512M")
    qemu = qemu_command(options, job, 512, ["-device", f"vhost-vsock-pci,guest-cid={CID}"])
    return {"uvmm": (uvmm + ["--vsock", f"{CID},path={socket}"], "vsock:2", lambda port: f"unix:{socket}_{port}"),
            "vhost": (qemu, "vsock:2", lambda port: f"vsock:-1:{port}"),
            "tcp": (uvmm + ["--net", f"tap={TAP}"], f"tcp:{HOST}", lambda port: f"tcp:{HOST}:{port}")}


def run(who, command, address, options):
    servers = [subprocess.Popen([options.sockets, "listen", address(ECHO_PORT), "echo"])]
    for _, port, connections, _, host in measurements(options.mebibytes):
        for each in range(port, port + connections):
            servers.append(subprocess.Popen([options.sockets, "listen", address(each), *host.split()], stdout=subprocess.DEVNULL))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        words = line.split()
        if words[:1] == ["begin"] and len(words) == 4:
            name, irqs, start = words[1].replace("_", " "), int(words[2]), float(words[3])
            own, exits_before, calls = processor_seconds(process.pid), exits(process.pid), system_calls(process.pid)
        elif words[:1] == ["end"] and len(words) == 3:
            print(json.dumps({"who": who, "name": name, "seconds": float(words[2]) - start, "irqs": int(words[1]) - irqs,
                              "exits": exits(process.pid) - exits_before, "own": processor_seconds(process.pid) - own,
                              "calls": system_calls(process.pid) - calls}), flush=True)
    if process.wait() != 0:
        raise SystemExit(f"{who} ended with {process.returncode}")
    for server in servers:
        server.kill()
        server.wait()


def main():
    parser = argparse.ArgumentParser()
    for name in ("uvmm", "kernel", "root", "sockets"):
        parser.add_argument("--" + name)
    for name in ("runs", "mebibytes", "pings", "connections"):
        parser.add_argument("--" + name, type=int)
    options = parser.parse_args()
    subprocess.run(f"mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug; ip tuntap add {TAP} mode tap && "
                   f"ip address add {HOST}/24 dev {TAP} && ip link set {TAP} up", shell=True, check=True, stdout=subprocess.DEVNULL)
    count_system_calls()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
        for _ in range(options.runs):
            for who, (command, peer, address) in commands(options, work + "/job", work + "/vm").items():
                make_job(work + "/job", peer, options)
                run(who, command, address, options)


main()
