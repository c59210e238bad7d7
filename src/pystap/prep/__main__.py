"""``python -m pystap.prep`` is the command ``stap-prep``."""

from pystap.prep.main import command

command()
