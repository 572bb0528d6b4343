"""The parts of a packet's price: which of them a sampled stack belongs to."""
import re
from dataclasses import dataclass

USER, KERNEL = "user", "kernel"


@dataclass(frozen=True)
class Part:
    """One row of the tables. `stages` are the stages of the journey it belongs to, outward and inward."""
    key: str
    side: str
    label: str
    stages: tuple = ("", "")


PARTS = (
    Part("cut", USER, "cutting super-packets", ("gather", "")),
    Part("move", USER, "moving bytes (`memmove`)", ("gather", "")),
    Part("sum", USER, "checksums", ("gather", "open")),
    Part("cipher", USER, "cipher", ("seal", "open")),
    Part("book", USER, "the data path's own code: slots, lookups, replay window"),
    Part("join", USER, "joining packets", ("", "open")),
    Part("call", USER, "making system calls"),
    Part("user", USER, "rest"),
    Part("read_copy", KERNEL, "TUN read: copy", ("gather", "gather")),
    Part("read", KERNEL, "TUN read: rest", ("gather", "gather")),
    Part("send_copy", KERNEL, "UDP send: copy", ("send", "send")),
    Part("send", KERNEL, "UDP send: IP and veth", ("send", "send")),
    Part("send_there", KERNEL, "UDP send: the other end's receiving, which runs in it", ("send", "send")),
    Part("receive_copy", KERNEL, "UDP receive: copy", ("receive", "receive")),
    Part("receive", KERNEL, "UDP receive: rest", ("receive", "receive")),
    Part("write_copy", KERNEL, "TUN write: copy", ("deliver", "deliver")),
    Part("write_tcp", KERNEL, "TUN write: receiving by IP and TCP, which runs in it", ("deliver", "deliver")),
    Part("write", KERNEL, "TUN write: rest", ("deliver", "deliver")),
    Part("wake", KERNEL, "waking who waits, wherever that is"),
    Part("switch", KERNEL, "poll, yield, and switching to others", ("wait", "wait")),
    Part("interrupt", KERNEL, "interrupts, and softirqs after them", ("interrupts", "interrupts")),
    Part("kernel", KERNEL, "rest, mostly the way into and out of system calls"),
)
BY_KEY = {part.key: part for part in PARTS}
RESTS = ("user", "kernel")

# The first that matches a frame, innermost frame first, is the part.
USER_RULES = [(key, re.compile(pattern)) for key, pattern in (
    ("cipher", r"adit_aead|aws_lc|chacha|poly1305|gcm|ghash|\baes|_aes|EVP_AEAD|CRYPTO_"),
    ("sum", r"^adit_packet::checksum"),
    ("cut", r"^adit_packet::segment"),
    ("join", r"^adit_packet::(coalesce|candidate|flow|transport)|^adit_packet::ip::IpHeader"),
    ("move", r"mem(move|cpy|set)"),
    ("call", r"^adit::net::|^adit::datapath::worker::Side::wait|^__libc_|^__(sched_yield|poll|ppoll|readv|writev)|"
             r"^(readv|writev|read|write|sendmsg|recvmsg|sched_yield|ppoll|poll|syscall)$"),
    ("book", r"^adit::datapath|^adit_(wireguard|replay|packet)::|^adit::clock"),
)]
# What has all of a worker's own code in it that the compiler made part of its thread's outermost function.
LOOP = "std::sys::backtrace::__rust_begin_short_backtrace"
COPY = re.compile(r"^_?copy_(to|from)_iter$|^rep_movs|^copy_user|^memcpy|^__memcpy|^_?copy_(to|from)_user$")
SWITCH = re.compile(r"^_?_?schedule(_idle|_hrtimeout_range\w*|_timeout)?$|^finish_task_switch|^preempt_schedule|"
                    r"^(irqentry_exit_to_user_mode|do_sys_poll|do_poll|__x64_sys_p?poll|__x64_sys_sched_yield|"
                    r"do_sched_yield|eventfd_read|schedule_tail)$")
WAKE = re.compile(r"^(sock_def_readable|sock_def_write_space|try_to_wake_up|__wake_up\w*|wake_up\w*|ep_poll_callback|"
                  r"default_wake_function|pollwake)$")
INTERRUPT = re.compile(r"^(asm_sysvec_|asm_common_interrupt|sysvec_|irq_exit_rcu|__irq_exit_rcu)")
SOFTIRQ = re.compile(r"^(handle_softirqs|__do_softirq|do_softirq)$")
RECEIVING = re.compile(r"^(netif_receive_skb\w*|__netif_receive_skb\w*|tcp_v[46]_rcv|napi_gro_\w+|ip_rcv|ipv6_rcv|do_softirq)$")
CALLS = (
    ("read", re.compile(r"^(tun_chr_read_iter|tun_do_read)$")),
    ("write", re.compile(r"^(tun_chr_write_iter|tun_get_user)$")),
    ("send", re.compile(r"^(__sys_sendmsg|___sys_sendmsg|____sys_sendmsg|udp_sendmsg|udpv6_sendmsg|__x64_sys_sendmsg)$")),
    ("receive", re.compile(r"^(__sys_recvmsg|___sys_recvmsg|____sys_recvmsg|udp_recvmsg|udpv6_recvmsg|__x64_sys_recvmsg)$")),
)


def part_of(frames):
    """The key of the part that a stack belongs to; one of RESTS if it is none of the others."""
    inner = [frame.symbol for frame in frames if frame.kernel]
    return kernel_part(inner) if inner else user_part([frame.symbol for frame in frames])


def user_part(symbols):
    if symbols[:1] == [LOOP]:
        return "book"
    for symbol in symbols:
        for key, pattern in USER_RULES:
            if pattern.search(symbol):
                return key
    return "user"


def kernel_part(symbols):
    def has(pattern):
        return any(map(pattern.search, symbols))
    # Going to sleep and waking are the same work wherever they happen.
    if has(WAKE):
        return "wake"
    if has(SWITCH):
        return "switch"
    if has(INTERRUPT):
        return "interrupt"
    for key, pattern in CALLS:
        if has(pattern):
            return detail(key, symbols, has)
    return "kernel"


def detail(call, symbols, has):
    """What of a system call it is."""
    if call == "send" and has(SOFTIRQ):
        return "send_there"
    if call == "write" and has(RECEIVING):
        return "write_tcp"
    return f"{call}_copy" if COPY.search(symbols[0]) else call


def stage(sample, key):
    """The stage of the journey: what datapath.rs calls it. Empty where neither stack nor part tells."""
    for frame in reversed(sample.frames):
        if found := re.match(r"adit::datapath::(?:Outward|Inward)::(\w+)$", frame.symbol):
            return found[1]
    return BY_KEY[key].stages[sample.thread == "inward"]
