"""The effects of options by their keys: for every option a small run that shows that it arrives."""

from collections.abc import Callable, Hashable
from typing import Any

Effect = Callable[[Any], None]


class Effects(dict[Hashable, Effect]):
    """Key of an option -> its effect, a function of a test's bench."""

    def shows(self, *keys: Hashable) -> Callable[[Effect], Effect]:
        """Register the effect of an option, or of options that work together."""

        def keep(test: Effect) -> Effect:
            for key in keys:
                assert key not in self
                self[key] = test
            return test

        return keep
