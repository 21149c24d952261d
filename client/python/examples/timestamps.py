"""Put the time at which the host read it before each line of a command's output, as the lines come.

usage: timestamps.py HOST COMMAND...
"""

import sys
from datetime import datetime
from typing import Dict, Optional

import rcmd


class Stamps:
    """Puts lines together again, whose pieces come as they were read."""

    def __init__(self) -> None:
        self._lines: Dict[str, bytes] = {"stdout": b"", "stderr": b""}
        self._times: Dict[str, Optional[datetime]] = {"stdout": None, "stderr": None}

    def take(self, output: rcmd.Output) -> None:
        """Prints the lines that are complete. A line has the time of its first byte."""
        for piece in output.data.splitlines(keepends=True):
            if not self._lines[output.stream]:
                self._times[output.stream] = output.time
            self._lines[output.stream] += piece
            if piece.endswith(b"\n"):
                self._print(output.stream)

    def end(self) -> None:
        """Prints last lines that have no end."""
        for stream, line in self._lines.items():
            if line:
                self._lines[stream] = line + b"\n"
                self._print(stream)

    def _print(self, stream: str) -> None:
        time, line = self._times[stream], self._lines[stream]
        stamp = time.astimezone().isoformat(timespec="milliseconds") if time else "-"
        where = sys.stdout.buffer if stream == "stdout" else sys.stderr.buffer
        where.write(stamp.encode() + b" " + line)
        where.flush()
        self._lines[stream] = b""


def main() -> int:
    """Runs the command of this program's words and returns its exit status."""
    host, *command = sys.argv[1:]
    stamps = Stamps()
    try:
        done = rcmd.run(host, command, on_output=stamps.take)
    except rcmd.Error as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.returncode or 125
    stamps.end()
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
