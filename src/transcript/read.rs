//! Items of a run of any length: its entries are folded from the beginning or from a checkpoint, and a page of items is kept.

use std::{collections::BTreeMap, ops::ControlFlow};

use super::{Fold, checkpoints, head_tail::append_to, json_bytes};
use crate::{
    history::{ForwardReader, History, ReadOutcome},
    model::{
        Failure, Kind, Run, RunId,
        item::{Item, ItemChange},
        line,
    },
};

/// How much of a log is read at a time.
const READ_BLOCK_BYTES: usize = 1 << 20;
/// A page never holds more, whatever its reader allows.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// Which items a page has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageStart {
    /// The last ones.
    End,
    /// Those that follow this item.
    After(u64),
    /// Those before this item, the nearest.
    Before(u64),
}

/// Items that follow each other, as of one entry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ItemPage {
    /// Ascending by number.
    pub(crate) items: Vec<Item>,
    /// How many items the run has.
    pub(crate) total: u64,
    /// The newest entry that was folded.
    pub(crate) seq: u64,
}

/// Keeps the items of a page while entries are folded.
#[derive(Debug)]
pub(crate) struct PageReader {
    start: PageStart,
    limit: u64,
    max_bytes: usize,
    /// The numbers that may be on the page.
    first: u64,
    last: u64,
    items: BTreeMap<u64, (Item, usize)>,
    bytes: usize,
}

/// Folds a run's entries, from where `fold` stands up to entry `last`. `take` gets the length of each and what it changes, and may end it.
pub(crate) fn fold_entries(
    history: &History,
    id: RunId,
    last: u64,
    fold: &mut Fold,
    mut take: impl FnMut(&Fold, usize, &mut Vec<ItemChange>) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let mut reader = ForwardReader::new(id, fold.seq());
    let (mut lines, mut changes) = (Vec::new(), Vec::new());
    while reader.seq() < last {
        lines.clear();
        if reader.read(history, READ_BLOCK_BYTES, &mut lines)? == ReadOutcome::Nothing {
            break;
        }
        for line in line::lines(&lines) {
            if line::head(line).is_some_and(|head| head.seq > last) {
                return Ok(());
            }
            fold_line(line, fold, &mut changes).map_err(|error| {
                let path = history.dir(id).path().to_owned();
                Failure::store(path, format!("an entry of the run is not understood: {error}; `loomd doctor` says more"))
            })?;
            if take(fold, line.len(), &mut changes).is_break() {
                return Ok(());
            }
            changes.clear();
        }
    }
    Ok(())
}

/// Folds the entry in a line. Lines that change no item are not parsed.
pub(crate) fn fold_line(line: &[u8], fold: &mut Fold, changes: &mut Vec<ItemChange>) -> Result<(), serde_json::Error> {
    match line::head(line) {
        Some(head) if head.kind == Kind::Session || (head.kind == Kind::Output && !fold.reads_output()) => fold.skip(head.seq),
        _ => fold.push(&line::parse(line)?, changes),
    }
    Ok(())
}

/// A page of a run's items, as of its newest entry.
pub(crate) fn page(history: &History, run: &Run, mut reader: PageReader, is_cancelled: &dyn Fn() -> bool) -> Result<ItemPage, Failure> {
    let (mut fold, mut writer) = checkpoints::begin(history, run, run.last_seq, |total, least| reader.can_begin_at(total, least))?;
    fold_entries(history, run.id, run.last_seq, &mut fold, |fold, line_bytes, changes| {
        writer.folded(history, fold, line_bytes);
        changes.drain(..).for_each(|change| reader.apply(fold.seq(), change));
        if is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    writer.finish(history);
    Ok(reader.finish(&fold))
}

/// One item with nothing omitted but output; `None` if there is none with this number.
pub(crate) fn whole_item(history: &History, run: &Run, number: u64, is_cancelled: &dyn Fn() -> bool) -> Result<Option<Item>, Failure> {
    // The fold of an item that is whole is no checkpoint of others, so none is written.
    let (fold, _) = checkpoints::begin(history, run, run.last_seq, |total, _| total < number)?;
    let mut fold = fold.with_whole_item(number);
    let mut found: Option<Item> = None;
    fold_entries(history, run.id, run.last_seq, &mut fold, |fold, _, changes| {
        for change in changes.drain(..).filter(|change| change.number() == number) {
            match (change, &mut found) {
                (ItemChange::Whole { item }, _) => found = Some(*item),
                (ItemChange::Append { append, .. }, Some(item)) => append_to(item, fold.seq(), &append),
                (ItemChange::Append { .. }, None) => {}
            }
        }
        if is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

impl PageReader {
    /// A page of at most `limit` items and about `max_bytes` bytes of JSON, one item at least where there is one.
    pub(crate) fn new(start: PageStart, limit: u64, max_bytes: u64) -> Self {
        let (first, last) = match start {
            PageStart::End => (1, u64::MAX),
            PageStart::After(item) => (item.saturating_add(1), item.saturating_add(limit)),
            PageStart::Before(item) => (item.saturating_sub(limit).max(1), item.saturating_sub(1)),
        };
        let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX).min(MAX_PAGE_BYTES);
        Self { start, limit: limit.max(1), max_bytes, first, last, items: BTreeMap::new(), bytes: 0 }
    }

    /// Whether the page can be made by a fold that goes on from a checkpoint with so many items, for a run that has `total`: items
    /// that the checkpoint has already are not given out again.
    fn can_begin_at(&self, checkpoint_total: u64, total: u64) -> bool {
        match self.start {
            PageStart::End => checkpoint_total <= total.saturating_sub(self.limit),
            PageStart::After(_) | PageStart::Before(_) => checkpoint_total < self.first,
        }
    }

    /// Takes what entry `seq` changed.
    pub(crate) fn apply(&mut self, seq: u64, change: ItemChange) {
        let number = change.number();
        if number < self.first || number > self.last {
            return;
        }
        match change {
            ItemChange::Whole { item } => {
                let bytes = json_bytes(&item);
                let before = self.items.insert(number, (*item, bytes));
                self.bytes = self.bytes + bytes - before.map_or(0, |(_, bytes)| bytes);
            }
            ItemChange::Append { append, .. } => {
                let Some((item, bytes)) = self.items.get_mut(&number) else { return };
                let before = std::mem::take(bytes);
                append_to(item, seq, &append);
                // Weighing an item costs its length, so one that grows by pieces is weighed by what it grows.
                *bytes = before + json_bytes(&append);
                self.bytes += *bytes - before;
            }
        }
        while self.items.len() > 1 && (self.bytes > self.max_bytes || self.items.len() as u64 > self.limit) {
            self.drop_one();
        }
    }

    /// The page, when everything was folded.
    pub(crate) fn finish(mut self, fold: &Fold) -> ItemPage {
        for (item, bytes) in self.items.values_mut() {
            self.bytes -= *bytes;
            *bytes = json_bytes(item);
            self.bytes += *bytes;
        }
        while self.items.len() > 1 && self.bytes > self.max_bytes {
            self.drop_one();
        }
        ItemPage { items: self.items.into_values().map(|(item, _)| item).collect(), total: fold.total(), seq: fold.seq() }
    }

    /// The item that is furthest from where the page begins goes.
    fn drop_one(&mut self) {
        let dropped = if matches!(self.start, PageStart::After(_)) { self.items.pop_last() } else { self.items.pop_first() };
        let Some((number, (_, bytes))) = dropped else { return };
        self.bytes -= bytes;
        match self.start {
            PageStart::After(_) => self.last = number - 1,
            PageStart::End | PageStart::Before(_) => self.first = number + 1,
        }
    }
}

impl ItemPage {
    /// The value for `after` that gives the next page.
    pub(crate) fn next(&self) -> Option<u64> {
        self.items.last().map(|item| item.item).filter(|last| *last < self.total)
    }

    /// The value for `before` that gives the page before.
    pub(crate) fn prev(&self) -> Option<u64> {
        self.items.first().map(|item| item.item).filter(|first| *first > 1)
    }
}
