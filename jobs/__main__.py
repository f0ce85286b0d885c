"""List the commands, or run one:  python -m jobs, or lakescribe where the package is installed"""

from __future__ import annotations

import ast
import pkgutil
import runpy
import sys
from pathlib import Path

import jobs
from jobs.status import Status


def main() -> None:
    known, typed = commands(), "lakescribe " if Path(sys.argv[0]).stem == "lakescribe" else "python -m jobs."
    if len(sys.argv) > 1 and sys.argv[1] in known:
        del sys.argv[0]
        runpy.run_module(f"jobs.{sys.argv[0]}", run_name="__main__", alter_sys=True)
        return
    asked = set(sys.argv[1:]) - {"-h", "--help", "help"}
    if asked:
        print(f"error: there is no command {sys.argv[1]}\n", file=sys.stderr)
    width = max(map(len, known))
    for name, line in known.items():
        print(f"  {typed}{name:{width}}  {line}", file=sys.stderr if asked else sys.stdout)
    if asked:
        raise SystemExit(Status.NOT_USABLE)
    print("\nEach has --help, with an example.")


def commands() -> dict[str, str]:
    """Name → what it does, of all modules here that have a main; without importing them, since that takes seconds."""
    found = {}
    for module in pkgutil.iter_modules(jobs.__path__):
        spec = module.module_finder.find_spec(module.name, None)  # a file's or, in jobs of a zip, a zip's
        source = spec.loader.get_source(module.name) if spec is not None else None  # type: ignore[union-attr]
        tree = ast.parse(source or "")
        if any(isinstance(part, ast.FunctionDef) and part.name == "main" for part in tree.body):
            found[module.name] = (ast.get_docstring(tree) or "").partition(":  python")[0]
    found.pop("__main__", None)
    return found


if __name__ == "__main__":
    main()
