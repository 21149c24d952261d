"""Answers for each line of JSON, what ClusterShell makes of its expression.

The first line is an object of groups, the second an expression for all hosts. An answer is an object with `set` (sorted names) and `fold`, or
with `error`.
"""

import json
import resource
import sys

from ClusterShell.NodeSet import NodeSet
from ClusterShell.NodeUtils import GroupResolver, GroupSource

# A set of very many hosts is refused as any other fault, before it takes the machine's memory.
MOST = 2 << 30
resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))

groups, everything = (json.loads(sys.stdin.readline()) for _ in range(2))
source = GroupSource("hosts", groups=groups, allgroups=everything)
resolver = GroupResolver(default_source=source)
for line in sys.stdin:
    try:
        nodes = NodeSet(json.loads(line), resolver=resolver)
        answer = json.dumps({"set": sorted(nodes), "fold": str(nodes)})
    except Exception as error:  # Whatever it does not take, also for want of memory, is one answer here.
        nodes = None
        answer = json.dumps({"error": "%s: %s" % (type(error).__name__, error)})
    print(answer, flush=True)
