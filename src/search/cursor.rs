//! Where a search goes on: before a run, or in the midst of one.

use std::{fmt, str::FromStr};

use super::{
    look::Begin,
    place::{Key, Start},
};
use crate::model::RunId;

/// What the next page begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// The newest run older than this one.
    Before(RunId),
    /// This run.
    In(RunId, Resume),
}

/// Where in a run. Entries keep their numbers when they are sealed, so it holds wherever they are by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Entries up to this one need not be read again.
    pub after: u64,
    /// Hits before this byte have been told.
    pub from: Key,
    /// How the strands begin: stdout, stderr.
    pub starts: [Start; 2],
}

impl Resume {
    pub const BEGIN: Self = Self { after: 0, from: Key { seq: 0, offset: 0 }, starts: [Start { begin: Begin::Line, offset: 0 }; 2] };
}

impl Cursor {
    /// Where a search through this run, or through all, begins.
    pub fn beginning(only: Option<RunId>) -> Self {
        only.map_or_else(|| Self::Before(RunId::from_bytes([0xff; 16])), |run| Self::In(run, Resume::BEGIN))
    }

    /// Whether it can go on with a search through this run alone, or through all.
    pub fn is_of(&self, only: Option<RunId>) -> bool {
        match self {
            Self::Before(_) => only.is_none(),
            Self::In(run, _) => only.is_none_or(|only| only == *run),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(run) => write!(out, "{run}"),
            Self::In(run, Resume { after, from, starts: [stdout, stderr] }) => {
                write!(out, "{run}.{after}.{}.{}", from.seq, from.offset)?;
                [stdout, stderr].iter().try_for_each(|start| write!(out, ".{}{}", letter(start.begin), start.offset))
            }
        }
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split('.');
        let run = words.next().ok_or(())?.parse().map_err(drop)?;
        let words: Vec<&str> = words.collect();
        if words.is_empty() {
            return Ok(Self::Before(run));
        }
        let [after, seq, offset, stdout, stderr] = words[..] else { return Err(()) };
        let number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten().ok_or(());
        let start = |word: &str| {
            let begin = BEGINS.into_iter().find(|(letter, _)| word.starts_with(*letter)).ok_or(())?;
            Ok(Start { begin: begin.1, offset: number(&word[1..])? })
        };
        let from = Key { seq: number(seq)?, offset: number(offset)? };
        Ok(Self::In(run, Resume { after: number(after)?, from, starts: [start(stdout)?, start(stderr)?] }))
    }
}

const BEGINS: [(char, Begin); 5] = [
    ('l', Begin::Line),
    ('w', Begin::Within),
    ('j', Begin::WithinJson { in_text: false }),
    ('t', Begin::WithinJson { in_text: true }),
    ('d', Begin::Told),
];

fn letter(begin: Begin) -> char {
    BEGINS.into_iter().find(|(_, one)| *one == begin).map_or('l', |(letter, _)| letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back() {
        let run = RunId::new();
        for (_, begin) in BEGINS {
            let starts = [Start { begin, offset: 7 }, Start { begin: Begin::Line, offset: u64::MAX }];
            let cursor = Cursor::In(run, Resume { after: 1, from: Key { seq: 2, offset: 3 }, starts });
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for only in [None, Some(run)] {
            let cursor = Cursor::beginning(only);
            assert!(cursor.is_of(only));
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        assert_eq!(Cursor::Before(run).to_string().parse(), Ok(Cursor::Before(run)));
        for wrong in [
            "",
            "x",
            &format!("{run}."),
            &format!("{run}.1.2.3.l1.x1"),
            &format!("{run}.1.2.3.l1.l"),
            &format!("{run}.1.2.3.lé.l1"),
            &format!("{run}.1.+2.3.l1.l1"),
        ] {
            assert_eq!(wrong.parse::<Cursor>(), Err(()), "{wrong}");
        }
    }
}
