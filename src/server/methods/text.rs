//! `run/text`.

use super::{Request, large};
use crate::model::{
    Failure,
    calls::{TextParams, TextResult},
};

const DEFAULT_BYTES: u64 = 1 << 20;
const MOST: u64 = 8 << 20;

pub async fn text(params: TextParams, request: Request) -> Result<TextResult, Failure> {
    if params.offset.is_some() && params.last_lines.is_some() {
        return Err(Failure::invalid_params("lastLines", "give `offset` or `lastLines`, not both"));
    }
    large(&request, move |history| {
        let max = usize::try_from(params.max_bytes.unwrap_or(DEFAULT_BYTES).clamp(1, MOST)).unwrap_or(1);
        let text = match params.last_lines {
            Some(count) => history.last_lines(params.run_id, params.stream, count, max)?,
            None => history.text(params.run_id, params.stream, params.offset.unwrap_or(0), max)?,
        };
        let next_offset = text.offset + text.raw.len() as u64;
        Ok(TextResult { text: String::from_utf8_lossy(&text.raw).into_owned(), offset: text.offset, next_offset, total_bytes: text.total })
    })
    .await
}
