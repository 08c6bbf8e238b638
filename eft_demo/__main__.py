"""`python -m eft_demo`: the command line."""

from eft_demo.host.interrupts import end_quietly

with end_quietly():
    from eft_demo.cli import main

if __name__ == "__main__":
    main()
