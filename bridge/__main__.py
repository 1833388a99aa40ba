"""`python -m bridge` is the command `phonebridge`."""

from bridge.ops.ctrl_c import end_quietly


def main() -> None:
    """Run the command. Ctrl-C ends it quietly from the first moment: its imports take a while."""
    end_quietly()
    from bridge.cli import main as command  # noqa: PLC0415  see above

    command()


if __name__ == "__main__":
    main()
