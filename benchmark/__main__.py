"""The entry of `bench` and of `python -m benchmark`.

Nothing is imported before the working directory is out of the places where modules are looked for:
a `numpy.py` or `defenses/` that happens to lie there is no part of this program.
"""

import os
import site  # these two are inside the interpreter, so nothing can take their place
import sys


def main() -> None:
    """Runs the command line, by this program's own modules alone.

    A Ctrl-C while it still loads ends in one line, too.
    """
    keep_working_directory_out()
    try:
        from benchmark.cli import main as command

        command()
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        sys.exit(130)


def keep_working_directory_out() -> None:
    """Takes the working directory from `sys.path`, unless it is there on purpose.

    It is where PYTHONPATH names it, where this program lies in it, and where packages are
    installed.
    """
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # it was removed, so nothing is in there
        return
    named = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    home = os.path.dirname(os.path.dirname(__file__))
    installed = (os.path.dirname(os.__file__), *site.getsitepackages(), home)
    if here not in map(os.path.realpath, (*named, *installed)):
        sys.path[:] = [place for place in sys.path if os.path.realpath(place or here) != here]


if __name__ == "__main__":
    main()
