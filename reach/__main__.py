"""`python -m reach` is the command `reach`."""

from .app.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
