"""Where the console script begins: a Ctrl-C while `bench` still loads ends in one line, too."""


def main() -> None:
    """Runs `benchmark.cli.main`."""
    try:
        from benchmark.cli import main as bench

        bench()
    except KeyboardInterrupt:
        import sys

        print("bench: stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
