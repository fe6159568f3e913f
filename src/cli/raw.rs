//! The bytes that a program wrote, of what a client is told of them.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::model::Failure;

/// The bytes that the program wrote, of an output entry's `text` and `data`.
pub fn exact_bytes<'a>(text: &'a str, data: Option<&str>) -> Result<Cow<'a, [u8]>, Failure> {
    match data {
        None => Ok(Cow::Borrowed(text.as_bytes())),
        Some(data) => {
            let bytes = BASE64_STANDARD.decode(data);
            bytes.map(Cow::Owned).map_err(|error| Failure::internal(format!("the server sent bytes that are no base64: {error}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_programs_own() {
        assert_eq!(exact_bytes("é", None).as_deref(), Ok("é".as_bytes()));
        assert_eq!(exact_bytes("a\u{fffd}", Some("Yf8=")).as_deref(), Ok(&b"a\xff"[..]));
        assert!(exact_bytes("", Some("?")).is_err());
    }
}
