"""``python -m kdh_runtime``: the command ``kdh-runtime``."""

import sys

from kdh_runtime.command import runtime_main

sys.exit(runtime_main())
