//! Names of interfaces.

/// Reads an interface's name: what the kernel takes, and what is the name of a file too.
///
/// # Errors
/// What is allowed.
pub fn interface_name(text: &str) -> Result<String, String> {
    let length = (1..=15).contains(&text.len());
    let characters =
        text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'%' && byte != b':');
    if length && characters && text != "." && text != ".." {
        Ok(text.to_owned())
    } else {
        Err("an interface's name has 1 to 15 visible bytes, none of them '/', '%' or ':'".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_or_a_folder_would_refuse_are_refused() {
        for name in ["wg0", "a", "abcdefghijklmno", "site-b.1"] {
            assert_eq!(interface_name(name).unwrap(), name);
        }
        for name in ["", "abcdefghijklmnop", ".", "..", "a/b", "wg%d", "a b", "a:b", "wg\u{e9}"] {
            assert!(interface_name(name).is_err(), "{name}");
        }
    }
}
