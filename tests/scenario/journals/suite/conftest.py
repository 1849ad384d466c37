import pytest


@pytest.fixture
def bad_end():
    yield
    raise OSError("teardown went wrong")


@pytest.fixture
def bad_start():
    raise RuntimeError("setup went wrong")


@pytest.fixture(scope="session", autouse=True)
def suite_property(record_testsuite_property):
    record_testsuite_property("suite-key", "suite-value")


def pytest_report_header():
    return "header of the suite"
