"""`python -m stepwell`."""

from stepwell.cli import main

if __name__ == "__main__":  # child processes import this file under another name
    main()
