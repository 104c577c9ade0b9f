"""The command line, in this process."""

from click.testing import CliRunner

from handgen.cli.main import main


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def refused(result, *facts, status=1):
    """Check that a command ended in one line with these facts, and return that line."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == status, result.output
    line = result.stderr.splitlines()[-1]
    assert [said for said in result.stderr.splitlines() if said.startswith("Error: ")] == [line]
    assert not [fact for fact in facts if str(fact) not in line], line
    assert "Traceback" not in result.output
    return line
