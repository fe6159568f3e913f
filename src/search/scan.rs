//! Searches one run: reads its entries in order, puts its streams together, and sorts what is found by where it stands in the log.
//!
//! Lines of two streams end in another order than they begin, so a hit waits until no line is open that began before it. A page may end
//! anywhere; for each block of entries it is noted how the strands stood before it, and the page that follows begins there.

use super::{
    Stop,
    cursor::Resume,
    look::{Begin, Looker},
    pattern::Pattern,
    place::{Bounds, Found, Key, Start},
    strand::{Strand, Work},
};
use crate::{
    history::{self, Forward, History},
    model::{Failure, Run, Stream, calls::SearchHit},
};

/// How much of a live log is read at a time, as lines.
const BATCH: usize = 256 << 10;

/// What a search through a run came to.
pub enum Scanned {
    /// All of it was searched.
    Whole,
    /// The page is full, or its time is over.
    Until(Resume),
}

/// What a page looks for, and how long.
pub struct Search<'a> {
    pub history: &'a History,
    pub pattern: &'a Pattern,
    pub bounds: Bounds,
    pub stop: &'a Stop<'a>,
}

impl Search<'_> {
    /// Searches a run as far as it goes now, and appends at most `most` hits, in log order.
    pub fn scan(&self, run: &Run, resume: Resume, most: usize, hits: &mut Vec<SearchHit>, looker: &mut Looker) -> Result<Scanned, Failure> {
        let Resume { from, starts: [stdout, stderr], after } = resume;
        let mut strands = [Strand::new(Stream::Stdout, stdout), Strand::new(Stream::Stderr, stderr)];
        let mut reader = Forward::new(run.id, after);
        let mut notes = vec![Note { first_seq: 0, resume }];
        let (mut found, mut read) = (Vec::<Found>::new(), 0);
        loop {
            let ended = reader.seq() >= run.last_seq
                || reader.read_output(self.history, BATCH, &mut looker.bodies, |seq, stream, offset, raw| {
                    strands[stream as usize].push(seq, offset, raw, read);
                    read += raw.len() as u64;
                })? == history::Found::Nothing;
            for strand in &mut strands {
                let (pattern, bounds, hits) = (self.pattern, self.bounds, &mut found);
                strand.search(&mut Work { run: run.id, pattern, looker, bounds, from, most, hits }, read, ended);
            }
            found.sort_by_key(|found| found.key);
            found.truncate(most);
            let open = if ended { None } else { strands.iter().filter_map(Strand::pending).min() };
            let sure = open.map_or(found.len(), |open| found.partition_point(|found| found.key < open));
            if sure == most {
                let last = found[most - 1].key;
                let mut resume = note_for(&notes, Key { offset: last.offset + 1, ..last });
                pass_over(&mut resume, &found);
                hits.extend(found.into_iter().map(|found| found.hit));
                return Ok(Scanned::Until(resume));
            }
            if ended {
                hits.extend(found.into_iter().map(|found| found.hit));
                return Ok(Scanned::Whole);
            }
            notes.push(Note::of(&reader, &strands));
            let next = open.unwrap_or(Key { seq: reader.seq() + 1, offset: 0 });
            // Each page gets further than the one before, however slow the disk is.
            if self.stop.is_over() && next > from {
                hits.extend(found.into_iter().take(sure).map(|found| found.hit));
                return Ok(Scanned::Until(note_for(&notes, next)));
            }
        }
    }
}

/// How the strands stood before an entry.
struct Note {
    first_seq: u64,
    resume: Resume,
}

impl Note {
    fn of(reader: &Forward, strands: &[Strand; 2]) -> Self {
        let first_seq = reader.seq() + 1;
        let held = strands.iter().filter_map(Strand::first_seq).min();
        let starts: [Start; 2] = [strands[0].start(), strands[1].start()];
        Self { first_seq, resume: Resume { after: held.unwrap_or(first_seq) - 1, starts, ..Resume::BEGIN } }
    }
}

/// Lets the strands begin behind the lines that have been told, so that a page with many hits behind it does not search them again.
fn pass_over(resume: &mut Resume, found: &[Found]) {
    for (start, stream) in resume.starts.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
        let last = found.iter().rfind(|found| found.hit.stream == stream);
        if let Some(last) = last.filter(|last| last.is_only && last.key.offset > start.offset) {
            *start = Start { begin: Begin::Told, offset: last.key.offset };
        }
    }
}

/// Where a page must begin that is to have the hits from a place on.
fn note_for(notes: &[Note], from: Key) -> Resume {
    let after = notes.partition_point(|note| note.first_seq <= from.seq);
    Resume { from, ..notes[after.saturating_sub(1)].resume }
}
