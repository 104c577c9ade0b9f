"""The command line, in this process."""

from click.testing import CliRunner

from handgen.cli.main import main


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])
