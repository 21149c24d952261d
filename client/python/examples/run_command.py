"""Run a command on a host, and show what it wrote and how it ended.

usage: run_command.py HOST COMMAND...
"""

import sys

import rcmd


def main() -> int:
    """Runs the command of this program's words and returns its exit status."""
    host, *command = sys.argv[1:]
    try:
        done = rcmd.run(host, command, timeout=60)
    except rcmd.Error as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.returncode or 125
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)
    print(f"{done.host}: {done.outcome}, status {done.returncode}, {done.duration:.3f} s", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
