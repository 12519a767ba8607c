"""Commands in this process, which leave their errors to the test."""

from click.testing import Result
from typer.testing import CliRunner

from genoconv.cli.app import app
from genoconv.errors import GenoconvError, Interrupted


def call(*words: object) -> Result:
    """Run ``genoconv`` with these words to its end.

    Raises:
        GenoconvError: what the command fails with; Interrupted, with all that was printed, after a signal.
        SystemExit: it ends in any other way but well.
    """
    result = CliRunner().invoke(app, list(map(str, words)))
    if isinstance(result.exception, GenoconvError):
        raise result.exception
    if result.exit_code == 130:
        raise Interrupted(result.output)
    if result.exit_code:
        raise SystemExit(result.exit_code) from result.exception
    return result
