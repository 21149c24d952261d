"""Make a folder of many hosts like one of this machine, and say what came there and what failed.

usage: push_folder.py FOLDER DESTINATION HOST...
"""

import sys

import rcmd


def main() -> int:
    """Copies the contents of the folder to all hosts and returns 0 if everything is there."""
    folder, destination, *hosts = sys.argv[1:]
    results = rcmd.put(hosts, folder, destination, recursive=True, exact=True, exclude=["*.tmp", ".git/"])
    for done in results:
        if done.totals is None:
            print(f"{done.host}: {done.outcome}: {done.error}")
            continue
        print(f"{done.host}: {done.outcome}, {done.totals.sent} files sent, {done.totals.bytes} bytes")
        for file in done.failures:
            print(f"  {file.path}: {file.error.message if file.error else 'failed'}")
    return 0 if all(done.outcome == "done" for done in results) else 1


if __name__ == "__main__":
    sys.exit(main())
