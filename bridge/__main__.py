"""`python -m bridge` is the command `phonebridge`."""

import signal


def _end(_number: int, _frame: object) -> None:
    raise SystemExit(130)


def main() -> None:
    """Run the command. Ctrl-C ends it quietly from the first moment: its imports take a while."""
    signal.signal(signal.SIGINT, _end)
    from bridge.cli import main as command  # noqa: PLC0415  see above

    command()


if __name__ == "__main__":
    main()
