//! Reading a run and following it: its entries (`run/read`), its output as text (`run/text`), the items of its transcript
//! (`run/items`, `run/getItem`), and each of these as they come (`run/attach`, `run/detach`).

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Request, WrittenResult, large_answer};
use crate::{
    history::{BackwardReader, ForwardReader, History, ReadOutcome},
    model::{
        Failure, Kind, Run, RunId,
        calls::{
            AttachParams, Empty, GetItemParams, GetItemResult, ItemsParams, ItemsResult, ReadParams, ReadResult, RunIdParams, RunResult,
            TextParams, TextResult,
        },
        control::Command,
        line,
    },
    server::follower::Delivery,
    transcript::read::{self as transcript_read, PageReader, PageStart},
};

const DEFAULT_PAGE_BYTES: u64 = 1 << 20;
const DEFAULT_PAGE_ITEMS: u64 = 200;
const MAX_PAGE_ITEMS: u64 = 1000;
const MAX_PAGE_BYTES: u64 = 8 << 20;
/// The beginning of an answer, before its entries.
const ENTRIES_PREFIX: &[u8] = br#"{"entries":["#;
/// Bytes that are read at a time.
const READ_BLOCK_BYTES: usize = 1 << 20;

pub(crate) async fn read(params: ReadParams, request: Request) -> Result<WrittenResult<ReadResult>, Failure> {
    if params.after_seq.is_some() && params.before_seq.is_some() {
        return Err(Failure::invalid_params("beforeSeq", "give `afterSeq` or `beforeSeq`, not both"));
    }
    let cancel = request.context.cancel.clone();
    large_answer(&request, move |history| {
        let max = usize::try_from(params.max_bytes.unwrap_or(DEFAULT_PAGE_BYTES).clamp(1, MAX_PAGE_BYTES)).unwrap_or(1);
        let page = ReadPage { history, id: params.run_id, kinds: params.kinds, max, cancel };
        let page = match params.before_seq {
            Some(before) => page.backward(before)?,
            None => page.forward(params.after_seq.unwrap_or(0))?,
        };
        Ok(WrittenResult::new(page))
    })
    .await
}

pub(crate) async fn text(params: TextParams, request: Request) -> Result<TextResult, Failure> {
    if params.offset.is_some() && params.last_lines.is_some() {
        return Err(Failure::invalid_params("lastLines", "give `offset` or `lastLines`, not both"));
    }
    large_answer(&request, move |history| {
        let max = usize::try_from(params.max_bytes.unwrap_or(DEFAULT_PAGE_BYTES).clamp(1, MAX_PAGE_BYTES)).unwrap_or(1);
        let text = match params.last_lines {
            Some(count) => history.last_lines(params.run_id, params.stream, count, max)?,
            None => history.text(params.run_id, params.stream, params.offset.unwrap_or(0), max)?,
        };
        let next_offset = text.offset + text.raw.len() as u64;
        Ok(TextResult { text: String::from_utf8_lossy(&text.raw).into_owned(), offset: text.offset, next_offset, total_bytes: text.total })
    })
    .await
}

/// A page of entries. Lines are passed on as they are: parsing and printing them again would only cost time.
struct ReadPage<'a> {
    history: &'a History,
    id: RunId,
    kinds: Option<Vec<Kind>>,
    max: usize,
    cancel: CancellationToken,
}

impl ReadPage<'_> {
    /// Lines are read to where they stand in the answer, and what does not belong into the page is taken out again.
    fn forward(&self, after: u64) -> Result<Vec<u8>, Failure> {
        let last = self.history.known_run(self.id)?.last_seq;
        let mut reader = ForwardReader::for_pages(self.id, after);
        let mut answer = ENTRIES_PREFIX.to_vec();
        let mut next = after;
        let mut is_full = false;
        while !is_full && answer.len() < self.max + ENTRIES_PREFIX.len() && next < last && !self.cancel.is_cancelled() {
            let begin = answer.len();
            if reader.read(self.history, READ_BLOCK_BYTES.min(self.max), &mut answer)? == ReadOutcome::Nothing {
                break;
            }
            let (mut at, mut end) = (begin, begin);
            while at < answer.len() {
                let line_end = memchr::memchr(b'\n', &answer[at..]).map_or(answer.len(), |length| at + length);
                let line = &answer[at..line_end];
                let is_wanted = self.wants(line);
                is_full = is_wanted && end > ENTRIES_PREFIX.len() && end + line.len() > self.max + ENTRIES_PREFIX.len();
                if is_full {
                    break;
                }
                next = line::head(line).map_or(next + 1, |head| head.seq);
                if is_wanted {
                    if at != end {
                        answer.copy_within(at..line_end, end);
                    }
                    end += line_end - at;
                    answer[end] = b',';
                    end += 1;
                }
                at = line_end + 1;
            }
            answer.truncate(end);
        }
        finish_answer(answer, &format!(r#"],"nextAfterSeq":{next},"atEnd":{}}}"#, next >= last))
    }

    fn backward(&self, before: u64) -> Result<Vec<u8>, Failure> {
        let last = self.history.known_run(self.id)?.last_seq;
        let mut first = before.min(last + 1);
        let mut reader = BackwardReader::new(self.id, first);
        let (mut pieces, mut length) = (Vec::new(), 0);
        let mut is_full = false;
        while !is_full && length < self.max && !self.cancel.is_cancelled() {
            let mut lines = Vec::new();
            if reader.read(self.history, READ_BLOCK_BYTES.min(self.max), &mut lines)? == ReadOutcome::Nothing {
                break;
            }
            let mut piece = Vec::new();
            for line in line::lines(&lines).collect::<Vec<_>>().into_iter().rev() {
                let is_wanted = self.wants(line);
                is_full = is_wanted && length > 0 && length + line.len() > self.max;
                if is_full {
                    break;
                }
                if is_wanted {
                    length += line.len();
                    piece.push(line);
                }
                first = line::head(line).map_or(first - 1, |head| head.seq);
            }
            piece.reverse();
            pieces.push(piece.iter().flat_map(|line| [*line, b","]).collect::<Vec<_>>().concat());
        }
        pieces.push(ENTRIES_PREFIX.to_vec());
        pieces.reverse();
        finish_answer(pieces.concat(), &format!(r#"],"prevBeforeSeq":{first},"atStart":{}}}"#, first <= 1))
    }

    fn wants(&self, line: &[u8]) -> bool {
        let Some(kinds) = &self.kinds else { return true };
        line::head(line).is_some_and(|head| kinds.contains(&head.kind))
    }
}

/// Ends an answer, whose entries each have a comma behind them.
fn finish_answer(mut answer: Vec<u8>, after: &str) -> Result<Vec<u8>, Failure> {
    answer.pop_if(|last| *last == b',');
    answer.extend_from_slice(after.as_bytes());
    match simdutf8::basic::from_utf8(&answer) {
        Ok(_) => Ok(answer),
        Err(error) => Err(Failure::internal(format!("a log has bytes that are not UTF-8: {error}"))),
    }
}

pub(crate) async fn items(params: ItemsParams, request: Request) -> Result<ItemsResult, Failure> {
    let start = match (params.after, params.before) {
        (Some(_), Some(_)) => return Err(Failure::invalid_params("before", "give `after` or `before`, not both")),
        (Some(item), None) => PageStart::After(item),
        (None, Some(item)) => PageStart::Before(item),
        (None, None) => PageStart::End,
    };
    let limit = params.limit.unwrap_or(DEFAULT_PAGE_ITEMS).clamp(1, MAX_PAGE_ITEMS);
    let reader = PageReader::new(start, limit, params.max_bytes.unwrap_or(DEFAULT_PAGE_BYTES));
    let cancel = request.context.cancel.clone();
    large_answer(&request, move |history| {
        let run = history.known_run(params.run_id)?;
        let page = transcript_read::page(history, &run, reader, &|| cancel.is_cancelled())?;
        let (next, prev) = (page.next(), page.prev());
        Ok(ItemsResult { items: page.items, total: page.total, seq: page.seq, next, prev })
    })
    .await
}

pub(crate) async fn get_item(params: GetItemParams, request: Request) -> Result<GetItemResult, Failure> {
    let cancel = request.context.cancel.clone();
    large_answer(&request, move |history| {
        let run = history.known_run(params.run_id)?;
        let item = transcript_read::whole_item(history, &run, params.item, &|| cancel.is_cancelled())?;
        let missing = || Failure::invalid_params("item", format!("the run has no item {}; `run/items` lists them", params.item));
        Ok(GetItemResult { item: item.ok_or_else(missing)? })
    })
    .await
}

pub(crate) async fn attach(params: AttachParams, request: Request) -> Result<RunResult, Failure> {
    let delivery = Delivery::of(params.kinds.as_deref(), params.form)?;
    let (id, after) = (params.run_id, params.after_seq.unwrap_or(0));
    request.server.runs.ensure_liveness(id).await?;
    let run = super::known_run(&request.server, id).await?;
    if after > run.last_seq {
        let message = format!("the log ends at entry {}; attach after that or an earlier one", run.last_seq);
        return Err(Failure::invalid_params("afterSeq", message));
    }
    follow(&request, &run, after, delivery);
    // From here on the client is notified about the run only by the follower, so this snapshot misses nothing.
    Ok(RunResult { run: super::known_run(&request.server, id).await? })
}

pub(crate) async fn detach(params: RunIdParams, request: Request) -> Result<Empty, Failure> {
    let (server, id) = (Arc::clone(&request.server), params.run_id);
    let sent = server.followers.detach(id);
    server.broadcast.detach(id);
    if sent.is_some()
        && let Some(link) = server.runs.links.find(id)
    {
        drop(link.push(Command::Attached(false)));
    }
    let run = super::known_run(&server, id).await?;
    // The client was not sent the newest entries, so it is notified how the run stands.
    if sent.is_some_and(|sent| sent < run.last_seq) {
        request.context.after.run(move || server.broadcast.notify_changed(&run));
    }
    Ok(Empty {})
}

/// Attaches the client; its follower starts after the request has been answered.
pub(crate) fn follow(request: &Request, run: &Run, after: u64, delivery: Delivery) {
    let (server, id) = (Arc::clone(&request.server), run.id);
    let link = server.runs.links.find(id);
    if let Some(link) = &link {
        if run.tty.is_some() {
            drop(link.push(Command::ShowsTerminal(delivery.shows_terminal(&server.client))));
        }
        if run.notify {
            drop(link.push(Command::CanAnswer(server.client.permissions)));
        }
        drop(link.push(Command::Attached(true)));
    }
    server.broadcast.attach(id, after);
    let follower = server.followers.attach(id, after, delivery, link.map(|link| link.growth()));
    request.context.after.run(move || follower.start(&server));
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        model::{RunState, Stream},
        store::{Store, test_run},
    };

    /// A page ends within a block, and the next one goes on there, in either direction.
    #[test]
    fn a_block_is_decoded_once_for_all_pages_that_cut_it() {
        const ENTRIES: u64 = 4000;
        let directory = tempfile::tempdir().expect("a directory");
        let history = History { runs: directory.path().join("runs"), store: Store::at(directory.path()) };
        let mut run = test_run(RunId::new());
        let mut lines = Vec::new();
        let text = "x".repeat(500);
        for seq in 1..=ENTRIES {
            line::write_output(&mut lines, run.id, seq, 7, Stream::Stdout, (seq - 1) * 500, text.as_bytes());
        }
        history.store.put_run(&run, None, || true).expect("stored");
        history.store.seal(run.id, &lines).expect("sealed");
        (run.state, run.last_seq, run.bytes.stdout) = (RunState::Succeeded, ENTRIES, ENTRIES * 500);
        history.store.finish(&run).expect("finished");
        let mut blocks = 0;
        let mut seq = 1;
        while let Some(block) = history.store.block_at(run.id, seq).expect("readable") {
            (blocks, seq) = (blocks + 1, block.last_seq + 1);
        }
        assert!((2..100).contains(&blocks), "{blocks} blocks");

        let page = ReadPage { history: &history, id: run.id, kinds: None, max: 8 << 10, cancel: CancellationToken::new() };
        let json = |page: Vec<u8>| serde_json::from_slice::<Value>(&page).expect("JSON");
        let before = history.store.decoded_block_count();
        let (mut after, mut count, mut pages) = (0, 0, 0);
        while after < ENTRIES {
            let page = json(page.forward(after).expect("readable"));
            count += page["entries"].as_array().expect("a list").len() as u64;
            (after, pages) = (page["nextAfterSeq"].as_u64().expect("a number"), pages + 1);
        }
        assert_eq!(count, ENTRIES);
        assert!(pages > 10 * blocks, "{pages} pages");
        assert!(history.store.decoded_block_count() - before <= blocks, "{} for {blocks}", history.store.decoded_block_count() - before);

        let before = history.store.decoded_block_count();
        let (mut first, mut count) = (ENTRIES + 1, 0);
        while first > 1 {
            let page = json(page.backward(first).expect("readable"));
            count += page["entries"].as_array().expect("a list").len() as u64;
            first = page["prevBeforeSeq"].as_u64().expect("a number");
        }
        assert_eq!(count, ENTRIES);
        assert!(history.store.decoded_block_count() - before <= blocks);
        let before = history.store.decoded_block_count();
        let mut offset = 0;
        while offset < run.bytes.stdout {
            offset += history.text(run.id, None, offset, 10_000).expect("readable").raw.len() as u64;
        }
        assert!(history.store.decoded_block_count() - before <= blocks, "text");

        // What is deleted is not found there.
        history.store.delete(run.id).expect("deleted");
        assert!(history.store.page_block_at(run.id, 1).expect("readable").is_none());
    }
}
