"""python3 -m cases [--list] [--jobs N] [NAME...]: see lab/runner.py."""
import importlib
import pkgutil
import sys

import cases
from lab.runner import main

for module in sorted(found.name for found in pkgutil.iter_modules(cases.__path__) if found.name != "__main__"):
    importlib.import_module(f"cases.{module}")
sys.exit(main())
