"""`python -m rayon`: the command line of what is no flow."""

from rayon.cli import app

app(prog_name="python -m rayon")
