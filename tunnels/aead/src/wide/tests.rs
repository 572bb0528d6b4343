//! The wide cipher without its limits: any length and any number of packets, against the library.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{Key, Nonce, TAG};

const SECRET: [u8; 32] = [0x81; 32];

/// What this processor has of it.
fn each() -> impl Iterator<Item = Box<Wide>> {
    Instructions::ALL.into_iter().filter_map(|it| Wide::new(&Secret::from(SECRET), it))
}

fn nonce(number: usize) -> Nonce {
    core::array::from_fn(|at| (number * 31 + at * 7 + 1) as u8)
}

/// Packets with texts of `lens`, one behind the other; and an arena for them.
fn packets(lens: &[usize]) -> (Vec<Packet>, Vec<u8>) {
    let mut start = 0;
    let mut packets = Vec::new();
    for (index, len) in lens.iter().enumerate() {
        let mut padded = [0; 16];
        padded[..12].copy_from_slice(&nonce(index));
        packets.push(Packet { index, start, len: *len, nonce: padded });
        start += len + TAG;
    }
    (packets, (0..start).map(|at| (at * 5 + at / 253) as u8).collect())
}

/// The same by the library.
fn sealed(packets: &[Packet], plain: &[u8]) -> Vec<u8> {
    let key = Key::chacha20_poly1305(&Secret::from(SECRET), None).unwrap();
    let mut arena = plain.to_vec();
    for packet in packets {
        key.seal(nonce(packet.index), &[], &mut arena[packet.start..][..packet.len + TAG]).unwrap();
    }
    arena
}

fn check(wide: &Wide, lens: &[usize]) {
    let (packets, plain) = packets(lens);
    let sealed = sealed(&packets, &plain);
    let mut arena = plain.clone();
    wide.seal(&mut arena, &mut packets.clone());
    assert!(arena == sealed, "{:?} {lens:?}", wide.instructions);
    assert_eq!(wide.open(&mut arena, &mut packets.clone()), (1 << lens.len()) - 1, "{lens:?}");
    for packet in packets {
        let text = packet.start..packet.start + packet.len;
        assert!(arena[text.clone()] == plain[text], "{:?} {lens:?}", wide.instructions);
    }
}

#[test]
fn every_number_of_packets_of_every_length_is_sealed_as_the_library_does_it() {
    for wide in each() {
        for count in 1..=wide.limits().packets {
            for len in 0..=260 {
                check(&wide, &vec![len; count]);
            }
        }
    }
}

#[test]
fn a_packet_longer_or_shorter_than_the_others_is_sealed_as_the_library_does_it() {
    for wide in each() {
        let count = wide.limits().packets;
        for at in 0..count {
            for (len, others) in
                [(1_500, 0), (0, 1_500), (17, 16), (15, 16), (64, 65), (512, 48), (9_000, 700)]
            {
                let mut lens = vec![others; count];
                lens[at] = len;
                check(&wide, &lens);
            }
        }
    }
}

/// Nothing of what is refused is decrypted, whichever bit of its tag or its text is wrong.
#[test]
fn each_bit_of_each_tag_is_compared_before_anything_is_decrypted() {
    for wide in each() {
        let lens: Vec<usize> = (0..wide.limits().packets).map(|at| at * 37 % 200 + 1).collect();
        let (packets, plain) = packets(&lens);
        let sealed = sealed(&packets, &plain);
        for Packet { index, start, len, .. } in packets.clone() {
            for bit in (start + len) * 8..(start + len + TAG) * 8 {
                let mut arena = sealed.clone();
                arena[bit / 8] ^= 1 << (bit % 8);
                let refused = arena[start..][..len].to_vec();
                let right = wide.open(&mut arena, &mut packets.clone());
                assert_eq!(right, ((1 << lens.len()) - 1) ^ (1 << index), "bit {bit}");
                assert!(arena[start..][..len] == refused, "bit {bit}");
                for other in packets.iter().filter(|other| other.index != index) {
                    let text = other.start..other.start + other.len;
                    assert!(arena[text.clone()] == plain[text], "bit {bit}");
                }
            }
        }
    }
}

#[test]
fn when_all_are_wrong_nothing_is_changed() {
    for wide in each() {
        for len in [0, 1, 64, 300] {
            let (packets, plain) = packets(&vec![len; wide.limits().packets]);
            let mut arena = plain.clone();
            assert_eq!(wide.open(&mut arena, &mut packets.clone()), 0);
            assert!(arena == plain, "{:?} {len}", wide.instructions);
        }
    }
}

proptest! {
    #[test]
    fn packets_of_any_lengths_are_sealed_as_the_library_does_it(
        lens in vec(prop_oneof![0_usize..80, 0_usize..2_000], 1..=PACKETS),
    ) {
        for wide in each() {
            check(&wide, lens.get(..wide.limits().packets).unwrap_or(&lens));
        }
    }

    /// As many are left as can be, the shortest ones.
    #[test]
    fn the_longest_are_left_out_until_so_few_may_be_so_long(lens in vec(0_usize..800, 0..=PACKETS)) {
        for wide in each() {
            let limits = wide.limits();
            let mut lens: Vec<usize> =
                lens.iter().copied().filter(|len| *len <= limits.longest(limits.packets)).take(limits.packets).collect();
            let (mut packets, _) = packets(&lens);
            let together = limits.together(&mut packets);
            lens.sort_unstable();
            let fits = |count: &usize| lens[count - 1] <= limits.longest(*count);
            prop_assert_eq!(together, (limits.fewest..=lens.len()).rev().find(fits).unwrap_or(0));
            let mut indexes: Vec<usize> = packets.iter().map(|packet| packet.index).collect();
            indexes.sort_unstable();
            prop_assert_eq!(indexes, (0..lens.len()).collect::<Vec<_>>());
            prop_assert!(packets.iter().take(together).all(|packet| packet.len <= limits.longest(together)));
        }
    }
}
