"""Runs a line on COUNT hosts, AT_ONCE at a time, and prints what each that answered said, with its name."""
import sys

from pssh.clients import ParallelSSHClient

port, user, key, at_once, count, line = sys.argv[1:]

client = ParallelSSHClient(
    ["127.0.0.1"] * int(count), port=int(port), user=user, pkey=key, pool_size=int(at_once), allow_agent=False
)
outputs = client.run_command(line, stop_on_errors=False)
client.join(outputs)
for number, output in enumerate(outputs, 1):
    if output.exception is not None:
        print(f"n{number}: {output.exception!r}", file=sys.stderr)
    elif output.exit_code == 0:
        for text in output.stdout:
            print(f"n{number}: {text}")
