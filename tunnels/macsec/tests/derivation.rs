//! The vectors of the derivation are those that Python finds.

use std::process::Command;

#[test]
fn the_vectors_are_what_their_program_writes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
    let run =
        Command::new("/usr/bin/python3").arg(format!("{folder}/derivation.py")).output().expect("python3");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let kept = std::fs::read_to_string(format!("{folder}/derivation.txt")).expect("derivation.txt");
    assert_eq!(String::from_utf8_lossy(&run.stdout), kept);
}
