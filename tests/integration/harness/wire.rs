//! Writing and reading frames strictly: anything on a server's stdout that is not the protocol fails the test.

use std::io::{BufRead, Read};

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Lsp,
    Lines,
}

impl Framing {
    pub(crate) fn frame(self, body: &str) -> Vec<u8> {
        match self {
            Self::Lsp => format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes(),
            Self::Lines => format!("{body}\n").into_bytes(),
        }
    }

    /// The next message; `None` at the end of the stream. A header that is cut is an error; a body that is cut counts
    /// as the end, because a killed server may leave one.
    pub(crate) fn read(self, reader: &mut impl BufRead) -> Result<Option<Value>, String> {
        let body = match self {
            Self::Lsp => lsp_body(reader)?,
            Self::Lines => line_body(reader)?,
        };
        let Some(body) = body else { return Ok(None) };
        let message = serde_json::from_slice(&body).map_err(|error| format!("{error} in {}", String::from_utf8_lossy(&body)))?;
        Ok(Some(message))
    }
}

fn lsp_body(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut length = None;
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        let line = String::from_utf8(line).map_err(|_| "a header is not text".to_owned())?;
        match line.as_str() {
            "" if length.is_none() => return Ok(None),
            "\r\n" => break,
            _ => {}
        }
        let (name, value) = line.trim_end().split_once(": ").ok_or(format!("not a header: {line:?}"))?;
        if name == "Content-Length" {
            length = Some(value.parse::<usize>().map_err(|_| format!("not a length: {line:?}"))?);
        }
    }
    let mut body = vec![0; length.ok_or("no Content-Length")?];
    match reader.read_exact(&mut body) {
        Ok(()) => Ok(Some(body)),
        Err(_) => Ok(None),
    }
}

fn line_body(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    Ok(line.ends_with(b"\n").then_some(line))
}

/// Reads whatever is left, and returns its length.
pub(super) fn drain(reader: &mut impl Read) -> u64 {
    std::io::copy(reader, &mut std::io::sink()).unwrap_or(0)
}
