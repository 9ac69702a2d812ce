# SPDX-License-Identifier: Apache-2.0
"""usage: console.py UVMM [OPTION...]: runs uvmm on a pseudo-terminal and behaves like a person at it."""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time


def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    def __init__(self, command):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            time.sleep(0.2)  # the other side sets the size first
            os.execv(command[0], command)
        set_size(self.fd, 30, 100)
        self.modes = termios.tcgetattr(self.fd)

    def expect(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in self.seen:
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                sys.exit(f"FAILED: no {text!r} within {seconds} s; the terminal shows:\n{self.seen.decode(errors='replace')}")
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:
                sys.exit(f"FAILED: uvmm ended before {text!r}; the terminal showed:\n{self.seen.decode(errors='replace')}")
        self.seen = self.seen[self.seen.index(text) + len(text):]
        print(f"ok: {text!r}")

    def type(self, text):
        os.write(self.fd, text)

    def end(self):
        """Reads what is left; returns the exit status."""
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def check(what, actual, expected):
    if actual != expected:
        sys.exit(f"FAILED: {what}: got {actual!r}, not {expected!r}")
    print(f"ok: {what}: {actual!r}")


terminal = Terminal(sys.argv[1:])
terminal.expect(b"# ")  # the shell's prompt
terminal.type(b"echo got-$((6 * 7))\r")
terminal.expect(b"got-42")
terminal.type(b"stty size; echo\r")
terminal.expect(b"30 100")
set_size(terminal.fd, 45, 132)
time.sleep(1)
terminal.type(b"stty size; echo\r")
terminal.expect(b"45 132")

# Control characters are the guest's: Ctrl-c interrupts there, Ctrl-a a is a Ctrl-a.
terminal.type(b"sleep 1000\r")
time.sleep(1)
terminal.type(b"\x03")
terminal.type(b"cat -v; echo next-$((1 + 1))\r")
time.sleep(1)
terminal.type(b"\x01a\r")
terminal.expect(b"^A")
terminal.type(b"\x04")
terminal.expect(b"next-2")

terminal.type(b"exit\r")
check("status after exit", terminal.end(), 0)

terminal = Terminal(sys.argv[1:])
terminal.expect(b"# ")
terminal.type(b"\x01x")
deadline = time.monotonic() + 10
while os.waitid(os.P_PID, terminal.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
    if time.monotonic() > deadline:
        sys.exit("FAILED: Ctrl-a x does not end uvmm")
    time.sleep(0.05)
check("the terminal's modes after Ctrl-a x", termios.tcgetattr(terminal.fd), terminal.modes)
check("status after Ctrl-a x", terminal.end(), 130)
