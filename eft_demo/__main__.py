"""`python -m eft_demo`: the command line."""

from eft_demo.cli import main

if __name__ == "__main__":
    main()
