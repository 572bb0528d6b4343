"""Which part of a packet's price a sampled stack is, of stacks as perf prints them."""
import unittest

from measure.parts import BY_KEY, PARTS, RESTS, part_of, stage
from measure.stacks import Frame, Sample, folded, samples

TEXT = """outward-0 101/103 
	ffffffff81b6ccb0 _copy_to_iter
	ffffffff81db2d37 tun_do_read.isra.0
	ffffffff81db36d8 tun_chr_read_iter
	          10a3d0 adit::datapath::Outward::gather
	          2a4863 std::sys::thread::start
	ffffffffffffffff [unknown]

swapper     0/0     
	ffffffff82203249 pv_native_safe_halt

iperf3 main 7/7 
	          114bec [unknown]
"""
CALL = ("do_syscall_64", "entry_SYSCALL_64_after_hwframe")


def kernel(*symbols):
    return [Frame(symbol, True) for symbol in (*symbols, *CALL)]


def user(*symbols):
    return [Frame(symbol) for symbol in symbols]


class Samples(unittest.TestCase):
    def test_samples_are_read_with_their_thread_and_the_side_of_each_function(self):
        first, idle, other = samples(TEXT)
        self.assertEqual((first.thread, first.pid, len(first.frames)), ("outward", 101, 5))
        self.assertEqual(first.frames[1], Frame("tun_do_read", True))
        self.assertFalse(first.frames[3].kernel)
        self.assertEqual((idle.thread, idle.pid), ("swapper", 0))
        self.assertEqual((other.thread, other.frames), ("iperf3 main", ()))

    def test_a_folded_stack_begins_with_thread_and_stage_and_leaves_out_what_led_there(self):
        first = next(samples(TEXT))
        self.assertEqual(stage(first, part_of(first.frames)), "gather")
        self.assertEqual(folded(first, "gather"), "outward;gather;tun_chr_read_iter_[k];tun_do_read_[k];_copy_to_iter_[k]")

    def test_a_stack_cut_off_ahead_of_its_stage_is_put_there_by_its_part(self):
        for command, expected in (("outward-1", "seal"), ("inward-0", "open")):
            cut = Sample(command, 1, tuple(user("adit_aead::wide::avx512::tags::of", "std::start")))
            self.assertEqual(stage(cut, part_of(cut.frames)), expected)
            self.assertEqual(folded(cut, expected), f"{cut.thread};{expected};adit_aead::wide::avx512::tags::of")


class Parts(unittest.TestCase):
    def check(self, expected, frames):
        self.assertEqual(part_of(frames), expected, frames)

    def test_user_functions_belong_to_the_part_of_the_innermost_that_has_one(self):
        self.check("cipher", user("adit_aead::wide::avx512::chacha::blocks_twice", "adit::datapath::Inward::open"))
        self.check("cipher", user("aes_gcm_enc_update_vaes_avx512", "adit::datapath::Outward::seal"))
        self.check("sum", user("adit_packet::checksum::Sum::of", "adit_packet::segment::Template::cut"))
        self.check("cut", user("adit_packet::segment::Template::cut", "adit::datapath::Outward::gather"))
        self.check("move", user("__memmove_avx512_unaligned_erms", "adit_packet::segment::segment"))
        self.check("join", user("adit_packet::coalesce::Coalescer::push", "adit::datapath::Inward::open"))
        self.check("book", user("adit_replay::window::Window::accept", "adit::datapath::Inward::open"))
        self.check("book", user("std::sys::backtrace::__rust_begin_short_backtrace", "clone3"))
        self.check("user", user("__vdso_clock_gettime", "std::sys::backtrace::__rust_begin_short_backtrace", "clone3"))
        self.check("call", user("__libc_sendmsg", "adit::datapath::Outward::send"))

    def test_copies_are_told_from_the_rest_of_each_call(self):
        for key, call in (("read", "tun_chr_read_iter"), ("write", "tun_chr_write_iter"), ("send", "__sys_sendmsg"),
                          ("receive", "__sys_recvmsg")):
            self.check(f"{key}_copy", kernel("_copy_to_iter", "anything", call))
            self.check(key, kernel("kfree", "anything", call))
            self.check(key, kernel("kfree", "_copy_to_iter", call))

    def test_what_the_kernel_does_for_others_inside_a_call_is_told_from_the_call(self):
        self.check("send_there", kernel("udp_queue_rcv_skb", "net_rx_action", "handle_softirqs", "udp_sendmsg", "__sys_sendmsg"))
        self.check("send", kernel("veth_xmit", "udp_sendmsg", "__sys_sendmsg"))
        self.check("write_tcp", kernel("tcp_ack", "tcp_v4_rcv", "netif_receive_skb", "tun_get_user", "tun_chr_write_iter"))

    def test_waking_and_switching_are_the_same_wherever_they_happen(self):
        self.check("wake", kernel("_raw_spin_unlock_irqrestore", "sock_def_readable", "tcp_v4_rcv", "tun_chr_write_iter"))
        self.check("switch", kernel("finish_task_switch", "__schedule", "schedule", "do_sys_poll"))
        self.check("switch", [*kernel("finish_task_switch", "__schedule", "asm_sysvec_reschedule_ipi"),
                              *user("adit_aead::wide::open_some")])
        self.check("interrupt", [*kernel("tcp_ack", "handle_softirqs", "__irq_exit_rcu", "asm_sysvec_apic_timer_interrupt"),
                                 *user("adit_aead::wide::open_some")])

    def test_what_is_not_known_lands_in_the_rest_of_its_side(self):
        self.check("kernel", kernel("something_new"))
        self.check("user", user("something::new"))
        self.check("user", [])
        for key in RESTS:
            self.assertIn(key, BY_KEY)

    def test_no_two_parts_have_one_key(self):
        self.assertEqual(len(BY_KEY), len(PARTS))


if __name__ == "__main__":
    unittest.main()
