"""The version that ``genoconv --version`` prints."""

from genoconv import __version__

VERSION = __version__
