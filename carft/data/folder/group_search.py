"""A script that searches a pattern in names of files, in a process of its own.

A regular expression of a stranger can take hours or all memory; the limits of this process end it.
"""

import json
import re
import resource
import sys

#: seconds of processor time beside those for the names, seconds for each name, and bytes of memory
SECONDS, SECONDS_A_NAME, MEMORY = 2, 1e-3, 2**30


def main() -> None:
    """Read [pattern, names] from stdin as JSON, and write the group of each name, or the error of the pattern.

    The group is what stands in the first parentheses, or the whole match where there are none; null without a match.
    """
    pattern, names = json.load(sys.stdin)
    seconds = SECONDS + int(SECONDS_A_NAME * len(names))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        json.dump({"error": str(error)}, sys.stdout)
        return
    groups = []
    for name in names:
        match = compiled.search(name)
        groups.append(match and match[min(1, compiled.groups)])
    json.dump({"groups": groups}, sys.stdout)


if __name__ == "__main__":
    main()
