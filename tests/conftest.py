"""Shared by all tests: being here puts this directory on the import path (``datadriven``)."""

import pytest

pytest.register_assert_rewrite("datadriven")

pytest_plugins = ["lab.plugin"]
