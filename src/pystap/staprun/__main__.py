"""``python -m pystap.staprun``."""

from pystap.staprun.main import command

if __name__ == "__main__":
    command()
