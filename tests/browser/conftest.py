"""What the tests of a file share: a browser, and a laboratory where one has been at work.

Not more than a file: while a browser is open, no test that runs an event loop of its own can run.
"""

import pytest

from tests.browser.browser import browser
from tests.browser.lab import lab


@pytest.fixture(scope="module")
def opened():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with lab(tmp_path_factory.mktemp("lab")) as found:
        yield found
