"""What tests tell pytest's JUnit XML beyond reports: there is no LogXML in a worker, so a stand-in hears it for xd's reporter."""
from __future__ import absolute_import, division, print_function

from xd_pytest import compat, wire
from xd_pytest.constants import NO_WORKER
from xd_pytest.text import TEXT_LIMIT, as_text, bounded


class XmlNotes(object):
    """In the place of LogXML in config.stash: what fixtures (record_xml_attribute, record_testsuite_property) and plugins call there."""

    def __init__(self, adapter, family):
        self.adapter = adapter
        self.family = "xunit1" if family in ("legacy", "", None) else family  # not set: before pytest 6

    def add_global_property(self, name, value):
        check = compat.XML_CHECK.get()
        if check is not None:
            check("name", name)
        if self.adapter.is_worker and not self.adapter.collected_sent:
            return  # while collecting, only the collector tells
        self.adapter.tell(wire.pack_SUITE_PROPERTY(worker=NO_WORKER, name=bounded(name, 512)[0], value=bounded(value, TEXT_LIMIT)[0]))

    def node_reporter(self, report):
        return CaseNotes(self.adapter.reports)


class CaseNotes(object):
    """In the place of the running item's reporter there."""

    def __init__(self, reports):
        self.reports = reports

    def add_attribute(self, name, value):
        self.reports.attributes[as_text(name)] = value

    def add_property(self, name, value):
        self.reports.added_properties.append((as_text(name), value))


def hear(adapter, config):
    """Puts the stand-in where pytest would have put LogXML, or has (in a plain session): --junitxml was given, and xd writes the file."""
    place = compat.XmlPlace(config)
    if not place.known:
        return
    if adapter.plain and place.get() is not None:
        config.pluginmanager.unregister(place.get())
        place.clear()
    if getattr(config.option, "xmlpath", None) and place.get() is None:
        if not (adapter.plain or adapter.is_worker):
            compat.warn_of_family(config)
        notes = XmlNotes(adapter, config.getini("junit_family"))
        place.put(notes)
        config.pluginmanager.register(notes)  # pytest's own takes it away in the end
