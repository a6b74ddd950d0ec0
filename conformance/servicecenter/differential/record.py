"""Asks a real ServiceCenter the traces in traces/ anew and writes down what it answers.

    python -m conformance.servicecenter.differential.record --servicecenter URL [NAME...]

A new file needs `why` and the operations of its steps; the tests print those of a trace that found something.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from conformance.servicecenter.asking import ServiceCenter
from conformance.servicecenter.differential.answering import Answer, Run
from conformance.servicecenter.differential.comparing import settles_in_s
from conformance.servicecenter.differential.operations import Operation

TRACES = Path(__file__).parent / "traces"
PATIENTLY = 3


def ask(run: Run, operation: Operation) -> Answer:
    answer, run.known = run.ask(operation)
    return answer


def as_kept(answer: Answer) -> dict[str, Any]:
    """Less the time stamps, which are of the day when it was asked."""
    return {name: value for name, value in answer._asdict().items() if name != "times"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write down how a real ServiceCenter answers the kept traces.")
    parser.add_argument("--servicecenter", metavar="URL", required=True)
    parser.add_argument("names", metavar="NAME", nargs="*", help="of the files (default: all)")
    arguments = parser.parse_args()
    server = ServiceCenter(arguments.servicecenter.rstrip("/"), kind="real")
    for file in sorted(TRACES.glob("*.json")):
        if arguments.names and file.stem not in arguments.names:
            continue
        kept = json.loads(file.read_text())
        run = Run(server)
        for step in kept["steps"]:
            operation = Operation(**step["operation"])
            answer = ask(run, operation)
            step["answer"] = as_kept(answer)
            time.sleep(settles_in_s(operation, answer) * PATIENTLY)
        file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
        print(f"{len(kept['steps'])} answers in {file}")


if __name__ == "__main__":
    main()
