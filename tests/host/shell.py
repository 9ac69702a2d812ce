# SPDX-License-Identifier: Apache-2.0
"""usage: shell.py DEMO: the demo's shell on a pseudo-terminal, until exit."""

import os
import pty
import select
import sys

pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:2])
seen = b""


def until(text):
    global seen
    while text not in seen:
        if not select.select([terminal], [], [], 120)[0]:
            sys.exit(f"FAILED: no {text!r}: {seen!r}")
        seen += os.read(terminal, 4096)
    seen = seen.split(text, 1)[1]


until(b"# ")
os.write(terminal, b"echo got-$((6 * 7))\r")
until(b"got-42")
os.write(terminal, b"exit\r")
try:
    while os.read(terminal, 4096):
        pass
except OSError:
    pass  # the other side is gone
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
