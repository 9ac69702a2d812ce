# SPDX-License-Identifier: Apache-2.0
"""usage: socket_console.py PATH: a shell in the guest through the console's socket."""

import socket
import sys
import time

console = socket.socket(socket.AF_UNIX)
console.settimeout(60)
for _ in range(200):
    try:
        console.connect(sys.argv[1])
        break
    except OSError:
        time.sleep(0.1)


def until(text):
    seen = b""
    while text not in seen:
        piece = console.recv(4096)
        if not piece:
            sys.exit(f"FAILED: the console ended: {seen!r}")
        seen += piece
    print(f"ok: {text!r}")


until(b"# ")
console.sendall(b"echo got-$((6 * 7))\r")
until(b"got-42")
console.sendall(b"exit\r")
