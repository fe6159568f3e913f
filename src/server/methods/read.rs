//! `run/read`.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::{Request, large};
use crate::{
    history::{Backwards, Forward, Found, History},
    model::{Failure, Kind, RunId, calls::ReadParams, line},
};

const DEFAULT_BYTES: u64 = 1 << 20;
const MOST: u64 = 8 << 20;
/// What stands before the entries in an answer.
const BEFORE: &[u8] = br#"{"entries":["#;
/// How much is read at a time.
const BLOCK: usize = 1 << 20;

pub async fn read(params: ReadParams, request: Request) -> Result<Arc<RawValue>, Failure> {
    if params.after_seq.is_some() && params.before_seq.is_some() {
        return Err(Failure::invalid_params("beforeSeq", "give `afterSeq` or `beforeSeq`, not both"));
    }
    let cancel = request.call.cancel.clone();
    large(&request, move |history| {
        let max = usize::try_from(params.max_bytes.unwrap_or(DEFAULT_BYTES).clamp(1, MOST)).unwrap_or(1);
        let page = Page { history, id: params.run_id, kinds: params.kinds, max, cancel };
        let text = match params.before_seq {
            Some(before) => page.backward(before)?,
            None => page.forward(params.after_seq.unwrap_or(0))?,
        };
        Ok(RawValue::from_string(text).map_err(|error| Failure::internal(error.to_string()))?.into())
    })
    .await
}

/// Lines are passed on as they are: parsing and printing them again would only cost time.
struct Page<'a> {
    history: &'a History,
    id: RunId,
    kinds: Option<Vec<Kind>>,
    max: usize,
    cancel: CancellationToken,
}

impl Page<'_> {
    fn forward(&self, after: u64) -> Result<String, Failure> {
        let last = self.history.known_run(self.id)?.last_seq;
        let mut reader = Forward::new(self.id, after);
        let (mut entries, mut lines) = (BEFORE.to_vec(), Vec::new());
        let mut next = after;
        'blocks: while entries.len() < self.max + BEFORE.len() && next < last && !self.cancel.is_cancelled() {
            lines.clear();
            if reader.read(self.history, BLOCK.min(self.max), &mut lines)? == Found::Nothing {
                break;
            }
            for line in line::lines(&lines) {
                let wanted = self.wants(line);
                if wanted && entries.len() > BEFORE.len() && entries.len() + line.len() > self.max + BEFORE.len() {
                    break 'blocks;
                }
                if wanted {
                    push(&mut entries, line);
                }
                next = line::head(line).map_or(next + 1, |head| head.seq);
            }
        }
        text(entries, &format!(r#"],"nextAfterSeq":{next},"atEnd":{}}}"#, next >= last))
    }

    fn backward(&self, before: u64) -> Result<String, Failure> {
        let last = self.history.known_run(self.id)?.last_seq;
        let mut reader = Backwards::new(self.id, before.min(last + 1));
        let (mut found, mut length, mut lines) = (Vec::new(), 0, Vec::new());
        let mut first = before.min(last + 1);
        'blocks: while length < self.max && !self.cancel.is_cancelled() {
            if reader.read(self.history, BLOCK.min(self.max), &mut lines)? == Found::Nothing {
                break;
            }
            for line in line::lines(&lines).collect::<Vec<_>>().into_iter().rev() {
                let wanted = self.wants(line);
                if wanted && !found.is_empty() && length + line.len() > self.max {
                    break 'blocks;
                }
                if wanted {
                    length += line.len();
                    found.push(line.to_vec());
                }
                first = line::head(line).map_or(first - 1, |head| head.seq);
            }
        }
        let mut entries = Vec::with_capacity(length + found.len() + 100);
        entries.extend_from_slice(BEFORE);
        found.iter().rev().for_each(|line| push(&mut entries, line));
        text(entries, &format!(r#"],"prevBeforeSeq":{first},"atStart":{}}}"#, first <= 1))
    }

    fn wants(&self, line: &[u8]) -> bool {
        let kind = line::head(line).map(|head| head.kind);
        self.kinds.as_ref().is_none_or(|kinds| kind.is_some_and(|kind| kinds.contains(&kind)))
    }
}

fn push(entries: &mut Vec<u8>, line: &[u8]) {
    if entries.len() > BEFORE.len() {
        entries.push(b',');
    }
    entries.extend_from_slice(line);
}

fn text(mut entries: Vec<u8>, after: &str) -> Result<String, Failure> {
    entries.extend_from_slice(after.as_bytes());
    String::from_utf8(entries).map_err(|error| Failure::internal(format!("a log holds bytes that are no text: {error}")))
}
