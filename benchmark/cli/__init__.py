"""The `bench` command: options, commands and display.

It alone prints to the user and sets exit codes. Imports wait inside the commands, so that
`bench --help` answers at once.
"""


def main() -> None:
    """Runs the command line that the process was started with; ends in its exit code."""
    from benchmark.cli.app import main

    main()
