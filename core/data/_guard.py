"""Runs a command that ends when its parent does, however the parent ends: `python _guard.py COMMAND…`.

The parent holds our standard input open and never writes. When it closes (also by kill -9), the command's whole process
group is ended. Standard library only; run as a script.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end(*_: object) -> None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except (AttributeError, OSError):  # no process groups on Windows; or it has just ended
            child.kill()

    def watch() -> None:
        os.read(0, 1)  # not sys.stdin: Python aborts at its end while a thread holds that one's lock
        end()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which closes our standard input
    threading.Thread(target=watch, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) & 0xFF)
