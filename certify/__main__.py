"""`python -m certify` is the command `certify`."""

from .app.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
