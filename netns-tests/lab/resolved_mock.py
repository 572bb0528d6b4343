"""systemd-resolved's D-Bus interface, run by itself: it writes down what it is told, a line of JSON each.

    resolved_mock.py ADDRESS LOG [METHOD]      METHOD is refused
"""
import json
import sys

import dbus
import dbus.bus
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

MANAGER = "org.freedesktop.resolve1.Manager"
ADDRESS, LOG, REFUSED = (sys.argv[1:] + [None])[:3]


def plain(value):
    """What D-Bus has, as JSON has it."""
    if isinstance(value, dbus.Boolean):
        return bool(value)
    if isinstance(value, (dbus.Array, dbus.Struct, tuple, list)):
        return [plain(one) for one in value]
    return int(value) if isinstance(value, int) else str(value)


class Manager(dbus.service.Object):
    def note(self, method, message, *words):
        with open(LOG, "a") as file:
            file.write(json.dumps([method, str(message.get_signature()), *map(plain, words)]) + "\n")
        if method == REFUSED:
            raise dbus.exceptions.DBusException("no such link", name="org.freedesktop.resolve1.NoSuchLink")

    @dbus.service.method(MANAGER, in_signature="ia(iay)", message_keyword="message")
    def SetLinkDNS(self, link, servers, message):
        self.note("SetLinkDNS", message, link, servers)

    @dbus.service.method(MANAGER, in_signature="ia(sb)", message_keyword="message")
    def SetLinkDomains(self, link, domains, message):
        self.note("SetLinkDomains", message, link, domains)

    @dbus.service.method(MANAGER, in_signature="ib", message_keyword="message")
    def SetLinkDefaultRoute(self, link, default, message):
        self.note("SetLinkDefaultRoute", message, link, default)

    @dbus.service.method(MANAGER, in_signature="i", message_keyword="message")
    def RevertLink(self, link, message):
        self.note("RevertLink", message, link)


DBusGMainLoop(set_as_default=True)
bus = dbus.bus.BusConnection(ADDRESS)
manager = Manager(dbus.service.BusName("org.freedesktop.resolve1", bus), "/org/freedesktop/resolve1")
print("ready", flush=True)
GLib.MainLoop().run()
