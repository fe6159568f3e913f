//! The cursor of a search: where the next page goes on, before a run or within one.

use std::{fmt, str::FromStr};

use super::matcher::LineStart;
use crate::model::RunId;

/// Where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SearchCursor {
    /// At the newest run that is older than this one.
    Before(RunId),
    /// Within this run.
    In(RunId, ResumePoint),
}

/// Where in a run a search goes on. Entries keep their numbers when they are sealed, so it is valid wherever they are
/// by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResumePoint {
    /// Entries up to this one need not be read again.
    pub(crate) after: u64,
    /// Hits before this position have been reported.
    pub(crate) from: Position,
    /// Where the reading of stdout and of stderr goes on.
    pub(crate) starts: [StreamStart; 2],
}

/// A position in the output of a run, in log order: an entry, and a byte of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) seq: u64,
    pub(crate) offset: u64,
}

/// The offset from which a stream must be read to rebuild its buffer, and how the bytes there begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamStart {
    pub(crate) begin: LineStart,
    pub(crate) offset: u64,
}

impl ResumePoint {
    pub(crate) const BEGIN: Self =
        Self { after: 0, from: Position { seq: 0, offset: 0 }, starts: [StreamStart { begin: LineStart::Line, offset: 0 }; 2] };
}

impl SearchCursor {
    /// Where a search through this run, or through all, begins.
    pub(crate) fn beginning(only_run: Option<RunId>) -> Self {
        only_run.map_or_else(|| Self::Before(RunId::from_bytes([0xff; 16])), |run| Self::In(run, ResumePoint::BEGIN))
    }

    /// Whether a search through this run alone, or through all runs if there is none, can go on here.
    pub(crate) fn is_of(&self, only_run: Option<RunId>) -> bool {
        match self {
            Self::Before(_) => only_run.is_none(),
            Self::In(run, _) => only_run.is_none_or(|only_run| only_run == *run),
        }
    }
}

impl fmt::Display for SearchCursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(run) => write!(out, "{run}"),
            Self::In(run, ResumePoint { after, from, starts: [stdout, stderr] }) => {
                write!(out, "{run}.{after}.{}.{}", from.seq, from.offset)?;
                [stdout, stderr].iter().try_for_each(|start| write!(out, ".{}{}", letter_of(start.begin), start.offset))
            }
        }
    }
}

impl FromStr for SearchCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let run = parts.next().ok_or(())?.parse().map_err(drop)?;
        let parts: Vec<&str> = parts.collect();
        if parts.is_empty() {
            return Ok(Self::Before(run));
        }
        let [after, seq, offset, stdout, stderr] = parts[..] else { return Err(()) };
        let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten().ok_or(());
        let start = |part: &str| {
            let begin = LINE_START_LETTERS.into_iter().find(|(letter, _)| part.starts_with(*letter)).ok_or(())?;
            Ok(StreamStart { begin: begin.1, offset: number(&part[1..])? })
        };
        let from = Position { seq: number(seq)?, offset: number(offset)? };
        Ok(Self::In(run, ResumePoint { after: number(after)?, from, starts: [start(stdout)?, start(stderr)?] }))
    }
}

/// How a [`LineStart`] is written in a cursor.
const LINE_START_LETTERS: [(char, LineStart); 5] = [
    ('l', LineStart::Line),
    ('w', LineStart::Within),
    ('j', LineStart::WithinJson { in_text: false }),
    ('t', LineStart::WithinJson { in_text: true }),
    ('d', LineStart::AlreadyReported),
];

fn letter_of(begin: LineStart) -> char {
    LINE_START_LETTERS.into_iter().find(|(_, one)| *one == begin).map_or('l', |(letter, _)| letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back() {
        let run = RunId::new();
        for (_, begin) in LINE_START_LETTERS {
            let starts = [StreamStart { begin, offset: 7 }, StreamStart { begin: LineStart::Line, offset: u64::MAX }];
            let cursor = SearchCursor::In(run, ResumePoint { after: 1, from: Position { seq: 2, offset: 3 }, starts });
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for only_run in [None, Some(run)] {
            let cursor = SearchCursor::beginning(only_run);
            assert!(cursor.is_of(only_run));
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        assert_eq!(SearchCursor::Before(run).to_string().parse(), Ok(SearchCursor::Before(run)));
        for wrong in [
            "",
            "x",
            &format!("{run}."),
            &format!("{run}.1.2.3.l1.x1"),
            &format!("{run}.1.2.3.l1.l"),
            &format!("{run}.1.2.3.lé.l1"),
            &format!("{run}.1.+2.3.l1.l1"),
        ] {
            assert_eq!(wrong.parse::<SearchCursor>(), Err(()), "{wrong}");
        }
    }
}
