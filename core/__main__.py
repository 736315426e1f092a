"""The command line: `python -m core …`."""

import sys

from core.commands import main

if __name__ == "__main__":
    sys.exit(main())
