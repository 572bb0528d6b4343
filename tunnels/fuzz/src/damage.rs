//! What a network or an attacker does to a message.

use crate::Input;

/// Changes some octets of `message`, or its length, or nothing.
pub(crate) fn damage(message: &mut Vec<u8>, input: &mut Input<'_>) {
    for _ in 0..input.below(4) {
        match input.byte() % 8 {
            0 => message.truncate(input.byte().into()),
            1 => message.extend_from_slice(input.array::<4>().as_slice()),
            _ => {
                let (at, change) = (input.byte().into(), input.byte());
                if let Some(octet) = message.get_mut::<usize>(at) {
                    *octet ^= change;
                }
            }
        }
    }
}
