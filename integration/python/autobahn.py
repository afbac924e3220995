"""Runs the Autobahn test suite against a WebSocket echo server and sums up what it says.

usage: autobahn.py ws://host:port/path REPORTS [CASE...]

Exits with 1 if a case failed.
"""

import collections
import json
import pathlib
import sys

import kosoku._cli

# Some cases of sections 12 and 13 end with this: they were written for Python 2, and the suite does not know yet how
# to run them with 3. Their connections are no failures of the server.
NOT_RUN = "Strings must be encoded before hashing"


def main(address, reports, *include):
    sys.argv = ["kosoku", "-p", "4", "-o", reports, *(arg for case in include for arg in ("-i", case)), address]
    try:
        kosoku._cli.main()
    except SystemExit:
        pass  # it counts what was not offered as well
    (agent,) = json.loads(pathlib.Path(reports, "index.json").read_text()).values()
    sections = collections.defaultdict(collections.Counter)
    failed = []
    for case, result in agent.items():
        behavior = result["behavior"]
        if behavior == "ERROR":
            report = json.loads(pathlib.Path(reports, pathlib.Path(result["reportfile"]).name).read_text())
            if report["result"] == NOT_RUN:
                sections[int(case.split(".")[0])]["NOT RUN"] += 1
                continue
        sections[int(case.split(".")[0])][behavior] += 1
        if behavior in ("FAILED", "ERROR") or result["behaviorClose"] in ("FAILED", "ERROR"):
            failed.append(case)
    for section, behaviors in sorted(sections.items()):
        print(f"section {section}:", ", ".join(f"{n} {name}" for name, n in sorted(behaviors.items())))
    if not agent or failed:
        print("failed:", *(failed or ["nothing ran"]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
