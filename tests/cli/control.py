#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: control.py UVMM openapi|docs: the control socket of a VM that idles, held against its OpenAPI document, or the commands
of docs/control.md, run as they stand there."""

import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
UVMM = os.path.abspath(sys.argv[1])
PATIENCE = 60


def idle_kernel():
    """An x86-64 ELF that halts for ever."""
    code, start = b"\xfa\xf4\xeb\xfd", 0x100000
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 120, start, start, len(code), len(code), 1) + code


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit("waited in vain")
        time.sleep(0.01)


def ask(path, method, target, body=None, accept="*/*"):
    """(status, content type, body) of an answer that ends; the first 4096 bytes of one that does not."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(str(path))
    text = "" if body is None else body if isinstance(body, str) else json.dumps(body)
    client.sendall(f"{method} {target} HTTP/1.1\r\nAccept: {accept}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(4096)
    head, _, rest = data.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    length = int(fields.get("Content-Length", 0))
    while len(rest) < length:
        rest += client.recv(65536)
    if "Content-Length" not in fields:
        while b"\n" not in rest:
            rest += client.recv(4096)
        rest = rest[: rest.index(b"\n") + 1]
    client.close()
    return int(head.split()[1]), fields.get("Content-Type"), rest.decode()


class Checker:
    """Answers against what the document says of their route."""

    def __init__(self, path):
        import jsonschema

        self.path = path
        self.document = json.loads((REPOSITORY / "docs/control.openapi.json").read_text())
        self.jsonschema = jsonschema
        self.seen = set()

    def validate(self, schema, value):
        resolver = self.jsonschema.RefResolver("", self.document)
        self.jsonschema.Draft202012Validator(schema, resolver=resolver).validate(value)

    def check(self, status, method, route, body=None, target=None, accept="*/*"):
        operation = self.document["paths"][route][method.lower()]
        got, content_type, text = ask(self.path, method, target or route, body, accept)
        where = f"{method} {target or route} {body!r}"
        assert got == status, f"{where}: {got} {text}"
        assert str(status) in operation["responses"], f"{where}: {status} is not documented"
        if isinstance(body, dict) and status < 300:
            self.validate(operation["requestBody"]["content"]["application/json"]["schema"], body)
        response = operation["responses"][str(status)]
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
        kind = content_type.split(";")[0]
        assert kind in response["content"], f"{where}: {kind} is not documented"
        value = json.loads(text) if "json" in kind else text
        self.validate(response["content"][kind]["schema"], value)
        self.seen.add((route, method.lower(), status))
        return value

    def check_console(self, *fields):
        """The console's answer ends with its head: nothing is printed there."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(str(self.path))
        client.sendall("\r\n".join(["GET /v1/console HTTP/1.1", *fields, "", ""]).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        status, documented = int(head.split()[1]), self.document["paths"]["/v1/console"]["get"]["responses"]
        assert str(status) in documented, head
        self.seen.add(("/v1/console", "get", status))
        return client, status

    def finish(self):
        documented = {
            (route, method, int(status))
            for route, methods in self.document["paths"].items()
            for method, operation in methods.items()
            for status in operation["responses"]
        }
        missing = {entry for entry in documented - self.seen if entry[2] < 300}
        assert not missing, f"these answers were never seen: {missing}"
        routes = {(route, method) for route, method, _ in documented}
        refused = {(route, method) for route, method, status in self.seen if status >= 400}
        assert routes == refused, f"no error was tried: {routes - refused}"


def openapi(directory):
    path = directory / "socket"
    (directory / "disk").write_bytes(bytes(4096))
    network, cable = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    vm = subprocess.Popen([UVMM, "--kernel", str(directory / "bzImage"), "--memory", "64M", "--control", str(path),
                           "--disk", str(directory / "disk"), "--uuid", "01234567-89ab-cdef-0123-456789abcdef",
                           "--net", f"socket={network.fileno()}", "--console", f"file={directory}/console",
                           "--vsock", f"3,path={directory}/vsock", "--share", f"{directory}/share"],
                          pass_fds=[network.fileno()])
    wait_until(path.exists)
    checker = Checker(path)
    check = checker.check
    wait_until(lambda: check(200, "GET", "/v1/vm")["state"] == "running")
    assert check(200, "GET", "/v1/vm/config")["memory"]["size"] == "64M"
    assert check(200, "GET", "/v1/openapi.json") == checker.document
    check(200, "GET", "/v1/version")
    check(200, "GET", "/v1/balloon")
    check(200, "PUT", "/v1/balloon", {"target": "32M"})
    check(200, "PUT", "/v1/balloon", {"target": 4096})
    check(200, "GET", "/v1/log")
    check(200, "PUT", "/v1/log", {"level": "error"})
    assert check(200, "GET", "/v1/events")["event"] == "started"
    assert "uvmm_vcpu_exits_total" in check(200, "GET", "/v1/metrics")
    metrics = check(200, "GET", "/v1/metrics", accept="application/json")
    assert metrics["devices"][0]["name"].startswith("disk ")
    for state in ("paused", "paused", "running"):
        assert check(200, "PUT", "/v1/vm/state", {"state": state}) == {"state": state}
        assert check(200, "GET", "/v1/vm")["state"] == state

    os.truncate(directory / "disk", 8192)
    grown = check(200, "PATCH", "/v1/disks/{id}", {"resize": True}, target="/v1/disks/disk0")
    assert grown == {"id": "disk0", "size_bytes": 8192}, grown
    os.truncate(directory / "disk", 4096)
    refused = check(409, "PATCH", "/v1/disks/{id}", {"resize": True}, target="/v1/disks/disk0")
    assert "8192" in refused["detail"] and "only grows" in refused["hint"], refused
    check(404, "PATCH", "/v1/disks/{id}", {"resize": True}, target="/v1/disks/disk1")
    for link in ("down", "up"):
        check(200, "PATCH", "/v1/nets/{id}", {"link": link}, target="/v1/nets/net0")
    check(404, "PATCH", "/v1/nets/{id}", {"link": "up"}, target="/v1/nets/net1")
    for kind in ("disks", "nets", "shares"):
        assert "hot-plug" in check(409, "POST", f"/v1/{kind}", {"path": "/a"})["detail"]
    watcher, status = checker.check_console()
    assert status == 200
    user, status = checker.check_console("Connection: Upgrade", "Upgrade: uvmm-console")
    assert status == 101
    user.sendall(b"typed to a guest that does not listen\n")

    for route, methods in checker.document["paths"].items():
        for method in methods:
            check(400, method.upper(), route, target=f"{route}?unknown=1")
        status, _, text = ask(path, "DELETE", route)
        assert status == 405, text
    check(400, "PUT", "/v1/vm/state", "{")
    check(400, "PUT", "/v1/balloon", {"target": "1T"})
    check(200, "PUT", "/v1/vm/state", {"state": "paused"})
    check(409, "PUT", "/v1/vm/state", {"state": "stopped"})

    check(202, "POST", "/v1/vm/reboot")
    assert vm.wait(PATIENCE) == 80
    assert watcher.recv(1) == b"" and user.recv(1) == b"", "a console outlives its VM"
    assert not path.exists()

    vm = subprocess.Popen([UVMM, "--kernel", str(directory / "bzImage"), "--control", str(path)])
    wait_until(path.exists)
    check(202, "PUT", "/v1/vm/state", {"state": "stopped", "mode": "force"})
    assert vm.wait(PATIENCE) == 128 + signal.SIGTERM
    vm = subprocess.Popen([UVMM, "--kernel", str(directory / "bzImage"), "--control", str(path), "--console", "off"])
    wait_until(path.exists)
    check(409, "GET", "/v1/console")
    ended = check(200, "PUT", "/v1/vm/state", {"state": "stopped", "timeout_s": 1}, target="/v1/vm/state?wait=true")
    assert ended == {"state": "stopped", "reason": "stopped", "exit_status": 143}, ended
    assert vm.wait(PATIENCE) == 143
    checker.finish()


def docs(directory):
    runtime = directory / "runtime"
    (directory / "bin").mkdir()
    runtime.mkdir()
    (directory / "bin/uvmm").symlink_to(UVMM)
    (directory / "store.erofs").write_bytes(bytes(4096))
    environment = dict(os.environ, XDG_RUNTIME_DIR=str(runtime), PATH=f"{directory}/bin:{os.environ['PATH']}")
    output = directory / "output"
    blocks = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "docs/control.md").read_text(), re.S)
    assert len(blocks) > 3
    for block in blocks:
        with output.open("w") as file:
            done = subprocess.run(["bash", "-euxc", block], cwd=directory, env=environment, stdin=subprocess.DEVNULL,
                                  stdout=file, stderr=file, timeout=PATIENCE)
        print(output.read_text())
        assert done.returncode == 0, block
        if block.rstrip().endswith("&"):
            wait_until((runtime / "uvmm/web.sock").exists)
    assert not list((runtime / "uvmm").iterdir()), "a VM still runs"


if not os.access("/dev/kvm", os.R_OK | os.W_OK):
    print("skipped: no access to /dev/kvm")
    sys.exit(77)
with tempfile.TemporaryDirectory(prefix="uvmm-control-") as name:
    folder = pathlib.Path(name)
    (folder / "bzImage").write_bytes(idle_kernel())
    (folder / "share").mkdir()
    {"openapi": openapi, "docs": docs}[sys.argv[2]](folder)
print("1 passed, 0 failed")
