"""A log of keys, for who reads captures: it opens all that is on the wire of a link, and is nobody's but the daemon's.

    x: host [lan] ---- a: bridge, msec0 [wire] ==== switch ==== [wire] b: msec0, bridge ---- [lan] y: host
"""
import os
import stat

from lab import link_config as config
from lab import link_key_log as key_log
from lab import link_secy as secy
from lab.case import case
from lab.daemon import NOBODY
from lab.link import NAME, Link
from lab.link_raw import Raw
from lab.link_switch import Switch
from lab.traffic import Marker, ping


def unnumbered(frame):
    """A frame without what the kernel may write anew of IPv4 when it cuts a train apart: identification and sum of the header."""
    return frame if frame[12:14] != b"\x08\0" else frame[:18] + frame[20:24] + frame[26:]


@case(limit=60, how=("noise, gcm-aes-xpn-256", "static, gcm-aes-128"))
def opens_the_wire(net, how):
    """scapy opens each frame of the wire with what one end wrote down: what the hosts sent is in them."""
    switch, (keys, suite) = Switch(), how.split(", ")
    link = Link(net, keys=keys, suite=suite, middle=switch.between)
    path = f"{link.a.daemon.state}/{NAME}.keys"
    link.a.daemon.config["macsec"][NAME]["key_log_file"] = path
    watch = switch.watch()
    link.start()
    link.both_ways()
    arrived, marker = Raw(link.y, "lan"), Marker("to be read by who has the log")
    marker.send(link.x, "10.8.0.2")
    assert ping(link.x, "10.8.0.2", count=10, size=400) == 10
    arrived.stop()
    watch.stop()

    logged = key_log.read(path)
    assert {one["suite"] for one in logged} == {suite} and {one["name"] for one in logged} == {NAME}
    told = {channel["sci"] for channel in channels(link.a)}
    assert len(told) == 2 and {secy.sci_text(bytes.fromhex(one["sci"])) for one in logged} == told, "a direction is missing"
    known = {one["key_id"] for channel in channels(link.a) for one in channel["associations"]}
    assert known <= {one["id"] for one in logged}, "a key that is in use is missing"
    protected = watch.protected()
    frames = key_log.opened(path, protected)
    assert len(protected) > 20 and all(frames), f"{frames.count(None)} of {len(protected)} frames did not open"
    assert not watch.holds(marker.bytes) and any(marker.bytes in frame for frame in frames)
    on_the_wire = {unnumbered(frame) for frame in frames}
    missing = [frame.hex() for frame in arrived.frames if unnumbered(frame) not in on_the_wire]
    assert len(arrived.frames) > 10 and not missing, f"y received what was not on the wire: {missing[:3]}"


@case(limit=60)
def is_kept_from_others(net):
    """The file is the daemon's alone, and it is told loudly; where others could read or replace it the link does not start."""
    link = Link(net, keys="static")
    table = link.a.daemon.config["macsec"][NAME]
    path = table["key_log_file"] = f"{link.a.daemon.state}/{NAME}.keys"
    link.a.start()
    found = os.stat(path)
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, NOBODY.pw_uid), oct(found.st_mode)
    warnings = config.told(link.a.daemon, NAME)["warnings"]
    assert any(warning.startswith("key_log_file: ") for warning in warnings), warnings
    assert "KEYS ARE WRITTEN" in link.a.daemon.process.output()
    key = link.a.transmit.key.hex()
    assert key in open(path).read() and key not in link.a.daemon.process.output()
    link.a.stop()

    os.chmod(path, 0o644)
    refused(link, "its mode is 0644")
    os.unlink(path)
    os.symlink(f"{link.a.daemon.state}/elsewhere", path)
    refused(link, "symbolic link")
    assert not os.path.exists(f"{link.a.daemon.state}/elsewhere")
    os.mkdir(folder := f"{link.a.daemon.folder}/open")
    os.chmod(folder, 0o777)
    table["key_log_file"] = f"{folder}/{NAME}.keys"
    refused(link, "everybody may write to")


def refused(link, words):
    """The link does not start, and says so."""
    daemon = link.a.daemon
    daemon.write()
    daemon.launch()
    daemon.process.wait_output(words, 20)
    daemon.kill()


def channels(end):
    told = config.told(end.daemon, NAME)
    return [told["transmit"], *told["receive"]]
