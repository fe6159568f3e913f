//! Searches one run: reads its entries in order, puts its streams together, and sorts the hits by their position in the
//! log.
//!
//! Lines of two streams end in another order than they begin, so a hit waits until no line is open that began before
//! it. A page may end anywhere. Before each batch of entries we record the state of the buffers in a [`Checkpoint`],
//! and the next page begins there.

use super::{
    SearchStop,
    cursor::{Position, ResumePoint, StreamStart},
    matcher::{LineStart, Matcher},
    pattern::Pattern,
    stream_buffer::{LocatedHit, ScanContext, StreamBuffer, WindowBounds},
};
use crate::{
    history::{self, ForwardReader, History},
    model::{Failure, Run, Stream, calls::SearchHit},
};

/// Bytes of lines that are read from a log at a time.
const READ_BATCH_BYTES: usize = 256 << 10;

/// How far [`Search::scan`] searched a run.
pub(crate) enum ScanOutcome {
    /// The whole run was searched.
    Whole,
    /// The page is full, or its time is over. The next page goes on here.
    Until(ResumePoint),
}

/// What a page searches for, in what, and until when.
pub(crate) struct Search<'a> {
    pub(crate) history: &'a History,
    pub(crate) pattern: &'a Pattern,
    pub(crate) bounds: WindowBounds,
    pub(crate) stop: &'a SearchStop<'a>,
}

impl Search<'_> {
    /// Searches a run as far as it has been written, and appends at most `limit` hits, in log order.
    pub(crate) fn scan(
        &self,
        run: &Run,
        resume: ResumePoint,
        limit: usize,
        hits: &mut Vec<SearchHit>,
        matcher: &mut Matcher,
    ) -> Result<ScanOutcome, Failure> {
        let ResumePoint { from, starts: [stdout, stderr], after } = resume;
        let mut buffers = [StreamBuffer::new(Stream::Stdout, stdout), StreamBuffer::new(Stream::Stderr, stderr)];
        let mut reader = ForwardReader::new(run.id, after);
        let mut checkpoints = vec![Checkpoint { first_seq: 0, resume }];
        let (mut found, mut read) = (Vec::<LocatedHit>::new(), 0);
        loop {
            let ended = reader.seq() >= run.last_seq
                || reader.read_output(self.history, READ_BATCH_BYTES, &mut matcher.bodies, |seq, stream, offset, raw| {
                    buffers[stream as usize].push(seq, offset, raw, read);
                    read += raw.len() as u64;
                })? == history::ReadOutcome::Nothing;
            for buffer in &mut buffers {
                let (pattern, bounds, hits) = (self.pattern, self.bounds, &mut found);
                buffer.search(&mut ScanContext { run: run.id, pattern, matcher, bounds, from, limit, hits }, read, ended);
            }
            found.sort_by_key(|found| found.position);
            found.truncate(limit);
            let earliest_open = if ended { None } else { buffers.iter().filter_map(StreamBuffer::pending).min() };
            let settled = earliest_open.map_or(found.len(), |earliest_open| found.partition_point(|found| found.position < earliest_open));
            if settled == limit {
                let last = found[limit - 1].position;
                let mut resume = resume_point_for(&checkpoints, Position { offset: last.offset + 1, ..last });
                skip_reported_lines(&mut resume, &found);
                hits.extend(found.into_iter().map(|found| found.hit));
                return Ok(ScanOutcome::Until(resume));
            }
            if ended {
                hits.extend(found.into_iter().map(|found| found.hit));
                return Ok(ScanOutcome::Whole);
            }
            checkpoints.push(Checkpoint::of(&reader, &buffers));
            let next = earliest_open.unwrap_or(Position { seq: reader.seq() + 1, offset: 0 });
            // A page ends only after it has got further than the one before, however slow the disk is.
            if self.stop.is_over() && next > from {
                hits.extend(found.into_iter().take(settled).map(|found| found.hit));
                return Ok(ScanOutcome::Until(resume_point_for(&checkpoints, next)));
            }
        }
    }
}

/// The state of the buffers before an entry, as the point from which a reader can rebuild them.
struct Checkpoint {
    first_seq: u64,
    resume: ResumePoint,
}

impl Checkpoint {
    fn of(reader: &ForwardReader, buffers: &[StreamBuffer; 2]) -> Self {
        let first_seq = reader.seq() + 1;
        let held = buffers.iter().filter_map(StreamBuffer::first_seq).min();
        let starts: [StreamStart; 2] = [buffers[0].start(), buffers[1].start()];
        Self { first_seq, resume: ResumePoint { after: held.unwrap_or(first_seq) - 1, starts, ..ResumePoint::BEGIN } }
    }
}

/// Lets the streams begin after the lines whose hits are all reported, so that the next page does not search them
/// again.
fn skip_reported_lines(resume: &mut ResumePoint, found: &[LocatedHit]) {
    for (start, stream) in resume.starts.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
        let last = found.iter().rfind(|found| found.hit.stream == stream);
        if let Some(last) = last.filter(|last| last.is_only && last.position.offset > start.offset) {
            *start = StreamStart { begin: LineStart::AlreadyReported, offset: last.position.offset };
        }
    }
}

/// Where a page must begin reading to find all hits from `from` on.
fn resume_point_for(checkpoints: &[Checkpoint], from: Position) -> ResumePoint {
    let after = checkpoints.partition_point(|checkpoint| checkpoint.first_seq <= from.seq);
    ResumePoint { from, ..checkpoints[after.saturating_sub(1)].resume }
}
