"""Commands one after another in a process whose fork server has imported torch once.

Each line of standard input is a folder and the arguments of a command, as JSON; the exit code goes to the
pipe whose number is the argument. Both outputs are files, empty again before each command.
"""

from __future__ import annotations

import json
import os
import sys

from ditbench.cli import main


def serve(answers: int) -> None:
    for line in sys.stdin:
        folder, arguments = json.loads(line)
        os.chdir(folder)
        for output in (1, 2):
            os.ftruncate(output, 0)
        try:
            code = main(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(answers, f"{code}\n".encode())


if __name__ == "__main__":
    serve(int(sys.argv[1]))
