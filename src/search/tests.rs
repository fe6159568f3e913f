//! Whatever a run wrote, in whatever chunks, and whether they are in the log or in the store: the hits are those of a
//! plain search through its lines.

use std::{
    fs,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::{
    log::{Appender, Description, append::Reserve, head::HeadFile},
    model::{Run, RunState, Stream, calls::SearchHit, line},
    search::cursor::Position,
    store::Store,
};

/// A data directory with runs to be searched.
struct SearchFixture {
    _data: tempfile::TempDir,
    history: History,
}

/// A run whose log is in several segments, which can be sealed one by one.
struct SegmentedRun {
    run: Run,
    /// First entry and lines of each segment.
    segments: Vec<(u64, Vec<u8>)>,
    sealed: usize,
    /// Of each entry: number, stream, offset.
    entries: Vec<(u64, Stream, u64)>,
    streams: [Vec<u8>; 2],
}

impl SearchFixture {
    fn new() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let history = History { runs: data.path().join("runs"), store: Store::at(data.path()) };
        fs::create_dir_all(&history.runs).expect("made");
        Self { _data: data, history }
    }

    fn run(&self, chunks: &[(Stream, Vec<u8>)], per_segment: usize) -> SegmentedRun {
        let run = crate::store::test_run(RunId::new());
        let dir = self.history.dir(run.id);
        fs::create_dir_all(dir.path()).expect("made");
        Description { version: Description::VERSION, run: run.clone(), token: None }.write(&dir).expect("described");
        let mut log = Appender::open(dir.clone(), run.clone()).expect("opened");
        let mut segmented = SegmentedRun { run, segments: Vec::new(), sealed: 0, entries: Vec::new(), streams: [Vec::new(), Vec::new()] };
        for (number, (stream, raw)) in chunks.iter().enumerate() {
            let (seq, which) = (number as u64 + 1, *stream as usize);
            let offset = segmented.streams[which].len() as u64;
            log.output(5, *stream, &[raw], Reserve::Untouched).expect("appended");
            if number % per_segment == 0 {
                segmented.segments.push((seq, Vec::new()));
            }
            let lines = &mut segmented.segments.last_mut().expect("there is one").1;
            line::write_output(lines, segmented.run.id, seq, 5, *stream, offset, raw);
            segmented.entries.push((seq, *stream, offset));
            segmented.streams[which].extend_from_slice(raw);
        }
        segmented.run = log.finish().expect("written");
        segmented.run.state = RunState::Succeeded;
        // We write the segments by hand, for real ones are longer.
        if per_segment < usize::MAX {
            for (first, lines) in &segmented.segments {
                fs::write(dir.segment(*first), lines).expect("written");
            }
            if let Some((segment, lines)) = segmented.segments.last() {
                let written =
                    HeadFile::create(&dir).and_then(|mut file| file.write(&mut segmented.run.clone(), *segment, lines.len() as u64));
                written.expect("written");
            }
        }
        segmented
    }

    /// Moves the next segment into the store. Returns whether there was one.
    fn seal(&self, segmented: &mut SegmentedRun) -> bool {
        let dir = self.history.dir(segmented.run.id);
        if segmented.sealed == 0 {
            self.history.store.put_run(&segmented.run, None, || true).expect("stored");
        }
        let Some((first, lines)) = segmented.segments.get(segmented.sealed) else { return false };
        self.history.store.seal(segmented.run.id, lines).expect("sealed");
        segmented.sealed += 1;
        if segmented.sealed == segmented.segments.len() {
            fs::remove_dir_all(dir.path()).expect("removed");
            self.history.store.finish(&segmented.run).expect("finished");
        } else {
            fs::remove_file(dir.segment(*first)).expect("removed");
        }
        true
    }

    fn page(
        &self,
        pattern: &Pattern,
        only_run: Option<RunId>,
        cursor: Option<&str>,
        limit: usize,
        hurried: bool,
        bounds: WindowBounds,
    ) -> SearchResult {
        let at = if hurried { Instant::now() } else { Instant::now() + Duration::from_secs(60) };
        let stop = SearchStop { at, is_cancelled: &|| false };
        let cursor = cursor.map(|cursor| cursor.parse().expect("a cursor"));
        search_page_within(&Search { history: &self.history, pattern, bounds, stop: &stop }, only_run, cursor, limit).expect("searched")
    }

    fn all(&self, pattern: &Pattern, limit: usize) -> Vec<SearchHit> {
        self.pages(pattern, limit, false, WindowBounds::DEFAULT, || {})
    }

    fn pages(&self, pattern: &Pattern, limit: usize, hurried: bool, bounds: WindowBounds, mut between: impl FnMut()) -> Vec<SearchHit> {
        let (mut hits, mut cursor): (Vec<SearchHit>, Option<String>) = (Vec::new(), None);
        loop {
            let page = self.page(pattern, None, cursor.as_deref(), limit, hurried, bounds);
            assert!(page.hits.len() <= limit);
            hits.extend(page.hits);
            let Some(next) = page.next_cursor else { return hits };
            assert_ne!(Some(&next), cursor.as_ref(), "no page stands still");
            cursor = Some(next);
            between();
        }
    }
}

impl SegmentedRun {
    /// The hits that a plain search finds: each line without its escapes, matched by `regex` alone.
    fn expected(&self, query: &str) -> Vec<SearchHit> {
        // A carriage return ends a line too, so a negated class must not match it.
        let regex = regex::bytes::RegexBuilder::new(&query.replace("[^a]", "[^a\r]")).multi_line(true).crlf(true).build().expect("a regex");
        let mut hits = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let raw = &self.streams[stream as usize];
            let mut offset = 0;
            for line in raw.split_inclusive(|byte| *byte == b'\n') {
                let mut seen = Vec::new();
                let mut at = 0;
                let body = line.strip_suffix(b"\n").unwrap_or(line);
                while at < body.len() {
                    match [&b"\x1b[1m"[..], b"\x1b]0;a\x07"].into_iter().find(|escape| body[at..].starts_with(escape)) {
                        Some(escape) => at += escape.len(),
                        None => {
                            seen.push((body[at], at));
                            at += 1;
                        }
                    }
                }
                let mut text: Vec<u8> = seen.iter().map(|(byte, _)| *byte).collect();
                if text.last() == Some(&b'\r') {
                    text.pop();
                }
                // Escapes after the last line feed make no line.
                let is_line = !seen.is_empty() || line.ends_with(b"\n");
                if let Some(found) = regex.find(&text).filter(|_| is_line) {
                    let at = offset + seen.get(found.start()).map_or(body.len(), |(_, at)| *at) as u64;
                    let seq = self.entries.iter().rev().find(|(_, of, begin)| *of == stream && *begin <= at).expect("an entry").0;
                    let begin = text[..found.start()].iter().rposition(|byte| *byte == b'\r').map_or(0, |at| at + 1);
                    let end = text[found.start()..].iter().position(|byte| *byte == b'\r').map_or(text.len(), |at| found.start() + at);
                    let line = String::from_utf8_lossy(&text[begin..end]).into_owned();
                    hits.push((Position { seq, offset: at }, SearchHit { run_id: self.run.id, seq, stream, offset: at, line }));
                }
                offset += line.len() as u64;
            }
        }
        hits.sort_by_key(|(position, _)| *position);
        hits.into_iter().map(|(_, hit)| hit).collect()
    }
}

fn random_text(pieces: &'static [&'static str], max_pieces: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(pieces), 0..max_pieces).prop_map(|pieces| {
        pieces.iter().flat_map(|piece| if *piece == "\u{fffd}" { vec![0xff] } else { piece.as_bytes().to_vec() }).collect()
    })
}

/// Both streams' texts, cut anywhere and mixed.
fn chunks() -> impl Strategy<Value = Vec<(Stream, Vec<u8>)>> {
    const PIECES: &[&str] = &["a", "b", "ab", " ", "\n", "\n", "\r\n", "\r", "é", "\x1b[1m", "\x1b]0;a\x07", "\u{fffd}", "A"];
    (random_text(PIECES, 60), random_text(PIECES, 60), prop::collection::vec((any::<bool>(), 1..9_usize), 1..80)).prop_map(
        |(out, err, cuts)| {
            let (mut streams, mut chunks) = ([&out[..], &err[..]], Vec::new());
            for (is_err, length) in cuts.into_iter().chain([(false, 1000), (true, 1000)]) {
                let stream = &mut streams[usize::from(is_err)];
                let (chunk, rest) = stream.split_at(length.min(stream.len()));
                *stream = rest;
                if !chunk.is_empty() {
                    chunks.push((if is_err { Stream::Stderr } else { Stream::Stdout }, chunk.to_vec()));
                }
            }
            chunks
        },
    )
}

const QUERIES: &[&str] =
    &["a", "ab", "b a", "^a", "b$", "a.b", "(?i)A", "é", "a|b ", "^$", "x*", "A", "[^a]b", "b+", r"\bab\b", "a$", "$", "b*$"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn hits_are_those_of_a_plain_search(
        logs in prop::collection::vec((chunks(), 1..9_usize, 0..9_usize), 1..3),
        query in prop::sample::select(QUERIES),
        limit in 1..5_usize,
        hurried in any::<bool>(),
        sealing in any::<bool>(),
    ) {
        let fixture = SearchFixture::new();
        let mut expected = Vec::new();
        let mut runs = Vec::new();
        for (chunks, per_segment, sealed) in &logs {
            let mut segmented = fixture.run(chunks, *per_segment);
            for _ in 0..*sealed {
                fixture.seal(&mut segmented);
            }
            expected.splice(0..0, segmented.expected(query));
            runs.push(segmented);
        }
        let pattern = Pattern::new(query, true, false).expect("fine");
        prop_assert_eq!(&fixture.all(&pattern, 1000), &expected);
        prop_assert_eq!(&fixture.all(&pattern, limit), &expected);
        let paged = fixture.pages(&pattern, limit, hurried, WindowBounds::DEFAULT, || {
            if sealing {
                for segmented in &mut runs {
                    fixture.seal(segmented);
                }
            }
        });
        prop_assert_eq!(&paged, &expected);
    }

    #[test]
    fn long_lines_are_searched_in_pieces(
        pieces in prop::collection::vec(prop::sample::select(&["a", "b", "ab", "aab", "é", "\n", "...................."][..]), 0..200),
        cuts in prop::collection::vec(1..60_usize, 1..40),
        query in prop::sample::select(&["aab", "ab", "b.b", "é", "^a", "aaba", "^b"][..]),
        limit in 1..4_usize,
        per_segment in 1..9_usize,
        hurried in any::<bool>(),
    ) {
        let text = pieces.concat().into_bytes();
        let (mut chunks, mut rest) = (Vec::new(), &text[..]);
        for length in cuts.into_iter().chain([usize::MAX]) {
            let (chunk, after) = rest.split_at(length.min(rest.len()));
            rest = after;
            if !chunk.is_empty() {
                chunks.push((Stream::Stdout, chunk.to_vec()));
            }
        }
        let fixture = SearchFixture::new();
        let segmented = fixture.run(&chunks, per_segment);
        let pattern = Pattern::new(query, true, false).expect("fine");
        let places = |hits: &[SearchHit]| hits.iter().map(|hit| (hit.seq, hit.offset)).collect::<Vec<_>>();
        let expected = places(&segmented.expected(query));
        let bounds = WindowBounds { window: 100, overlap: 10 };
        prop_assert_eq!(&places(&fixture.pages(&pattern, 1000, false, bounds, || {})), &expected);
        prop_assert_eq!(&places(&fixture.pages(&pattern, limit, hurried, bounds, || {})), &expected);
    }
}

/// Bytes of an entry that precede the line that begins in it must not count as bytes of the other stream.
#[test]
fn a_line_that_is_not_long_is_searched_whole() {
    let text = [
        "abaabab....................a....................abaababaabaaaaaaaabaab....................ababab..............",
        "......aabab....................aba....................aéa\naabab....................abaab......................",
        "..................ééabaaéaab\naabaab\naab....................baababaababa\n\néabéb\nab....................ababab...",
        ".................é....................ab\nab............................................................abaabaa",
        "b",
    ];
    let text = text.concat();
    let (mut chunks, mut rest) = (Vec::new(), text.as_bytes());
    for length in [5, 31, 26, 47, 14, 57, 48, 38, 9, 34, 28, 6, 44, 58, 10, 6, 29, 57, 39, 38, 7, usize::MAX] {
        let (chunk, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        if !chunk.is_empty() {
            chunks.push((Stream::Stdout, chunk.to_vec()));
        }
    }
    let fixture = SearchFixture::new();
    let segmented = fixture.run(&chunks, 7);
    let places = |hits: &[SearchHit]| hits.iter().map(|hit| (hit.seq, hit.offset)).collect::<Vec<_>>();
    let pattern = Pattern::new("aaba", true, false).expect("fine");
    let bounds = WindowBounds { window: 100, overlap: 10 };
    assert_eq!(places(&fixture.pages(&pattern, 1000, false, bounds, || {})), places(&segmented.expected("aaba")));
}

fn plain(query: &str) -> Pattern {
    Pattern::new(query, false, false).expect("a text")
}

fn out(text: &str) -> (Stream, Vec<u8>) {
    (Stream::Stdout, text.as_bytes().to_vec())
}

#[test]
fn texts_in_json_are_found_as_people_read_them() {
    let fixture = SearchFixture::new();
    let result = serde_json::json!({"type": "user", "name": "said \"no\"", "content": [{"text": "one\n\u{1b}[31merror[E0382]\u{1b}[0m: moved\nthree"}], "again": "x\nerror[E0382]: moved"});
    let raw = format!("before\n{result}\n{{\"not json\n{{\"a\":\"no end");
    let chunks: Vec<_> = raw.as_bytes().chunks(7).map(|chunk| (Stream::Stdout, chunk.to_vec())).collect();
    let segmented = fixture.run(&chunks, usize::MAX);
    let found = |query: &str| fixture.all(&plain(query), 10).into_iter().map(|hit| (hit.offset as usize, hit.line)).collect::<Vec<_>>();
    let at = |text: &str| raw.find(text).expect("is there");
    assert_eq!(found("E0382]: mov"), [(at("E0382]"), "error[E0382]: moved".to_owned())]);
    assert_eq!(found("said \"no"), [(at("said"), "said \"no\"".to_owned())]);
    assert_eq!(found("three"), [(at("three"), "three".to_owned())]);
    assert_eq!(found("before"), [(0, "before".to_owned())]);
    // Where no text matches, the hit is the line as it was written.
    let written = result.to_string();
    assert_eq!(found("\"type\":"), [(at("\"type\":"), written.clone())]);
    assert_eq!(found(r"one\n"), [(at("one"), written)]);
    assert_eq!(found("not json"), [(at("not json"), "{\"not json".to_owned())]);
    assert_eq!(found("{\"a\":\"no"), [(at("{\"a\""), "{\"a\":\"no end".to_owned())]);
    let regex = Pattern::new("^three$", true, false).expect("fine");
    assert_eq!(fixture.all(&regex, 10)[0].seq, at("three") as u64 / 7 + 1);
    assert_eq!(segmented.streams[0].len(), raw.len());
}

#[test]
fn a_long_text_in_json_is_found_at_every_place() {
    let fixture = SearchFixture::new();
    let text: String = (0..300).map(|number| format!("line {number} \"of\" é😀\n")).collect();
    let raw = format!("{}\n", serde_json::json!({ "output": text }));
    let chunks: Vec<_> = raw.as_bytes().chunks(40).map(|chunk| (Stream::Stdout, chunk.to_vec())).collect();
    let segmented = fixture.run(&chunks, usize::MAX);
    let pattern = plain("\"of\" é😀");
    let whole = fixture.all(&pattern, 1000);
    assert_eq!(whole.len(), 300);
    for (number, hit) in whole.iter().enumerate() {
        assert_eq!(hit.line, format!("line {number} \"of\" é😀"));
        assert!(raw.as_bytes()[hit.offset as usize..].starts_with(br#"\"of\" "#));
    }
    // Searched in pieces, a line is shorter, and a line that is cut may come twice.
    for limit in [1, 7, 1000] {
        let places = |hits: Vec<SearchHit>| hits.into_iter().map(|hit| hit.offset).collect::<Vec<_>>();
        let pieces = places(fixture.pages(&pattern, limit, false, WindowBounds { window: 500, overlap: 60 }, || {}));
        assert_eq!(pieces, places(whole.clone()), "pages of {limit}");
    }
    assert_eq!(segmented.run.last_seq, chunks.len() as u64);
}

#[test]
fn a_line_that_the_other_stream_cuts_holds_nothing_up() {
    let fixture = SearchFixture::new();
    let mut chunks = vec![out("a prompt with a needle: ")];
    chunks.extend((0..200).map(|number| (Stream::Stderr, format!("noise {number} with a needle\n").into_bytes())));
    chunks.push(out("an answer with a needle\nneedle\n"));
    let segmented = fixture.run(&chunks, usize::MAX);
    let bounds = WindowBounds { window: 1000, overlap: 100 };
    for (limit, hurried) in [(1000, false), (1, false), (3, true), (1000, true)] {
        let hits = fixture.pages(&plain("needle"), limit, hurried, bounds, || {});
        let keys: Vec<_> = hits.iter().map(|hit| (hit.seq, hit.offset)).collect();
        assert!(keys.is_sorted(), "{keys:?}");
        assert_eq!(hits.iter().filter(|hit| hit.stream == Stream::Stderr).count(), 200);
        assert_eq!(hits.iter().filter(|hit| hit.stream == Stream::Stdout).map(|hit| hit.seq).collect::<Vec<_>>(), [1, 202]);
    }
    assert_eq!(segmented.segments.len(), 1);
}

#[test]
fn runs_come_newest_first_and_a_deleted_one_is_skipped() {
    let fixture = SearchFixture::new();
    let mut runs: Vec<SegmentedRun> = (0..150).map(|number| fixture.run(&[out(&format!("number {number}\n"))], 1)).collect();
    runs.iter_mut().step_by(2).for_each(|segmented| assert!(fixture.seal(segmented)));
    let pattern = plain("number");
    let ids: Vec<RunId> = fixture.all(&pattern, 1000).iter().map(|hit| hit.run_id).collect();
    let expected: Vec<RunId> = runs.iter().rev().map(|segmented| segmented.run.id).collect();
    assert_eq!(ids, expected);
    let one = fixture.page(&pattern, Some(runs[3].run.id), None, 10, false, WindowBounds::DEFAULT);
    assert_eq!((one.hits.len(), one.hits[0].line.as_str(), one.next_cursor), (1, "number 3", None));

    // A page ends within the run that is deleted next, and another that is to come is deleted too.
    let first = fixture.page(&pattern, None, None, 2, false, WindowBounds::DEFAULT);
    assert_eq!(first.hits[1].run_id, runs[148].run.id);
    for number in [148, 146] {
        fixture.history.store.delete(runs[number].run.id).expect("deleted");
    }
    let late = fixture.run(&[out("number of a late run\n")], 1);
    let rest = fixture.page(&pattern, None, first.next_cursor.as_deref(), 1000, false, WindowBounds::DEFAULT);
    let expected: Vec<RunId> = (0..148).rev().filter(|number| *number != 146).map(|number| runs[number].run.id).collect();
    assert_eq!(rest.hits.iter().map(|hit| hit.run_id).collect::<Vec<_>>(), expected);
    assert_eq!(fixture.all(&pattern, 1)[0].run_id, late.run.id);
}

#[test]
fn a_page_begins_behind_the_reported_lines() {
    let fixture = SearchFixture::new();
    let log = [out("a 1\na 2\n"), (Stream::Stderr, b"a 3\na 4\n".to_vec()), out("a 5\n{\"t\":\"a 6\\na 7\"}\na 8\n")];
    let mut segmented = fixture.run(&log, usize::MAX);
    while fixture.seal(&mut segmented) {}
    let only_run = Some(segmented.run.id);
    let mut cursor: Option<String> = None;
    for (number, starts) in ["l0.l0", "d4.l0", "d4.l0", "d4.d4", "d8.d4", "d8.d4", "d8.d4", "d29.d4"].into_iter().enumerate() {
        let page = fixture.page(&plain("a "), only_run, cursor.as_deref(), 1, false, WindowBounds::DEFAULT);
        assert_eq!(page.hits[0].line, format!("a {}", number + 1));
        cursor = page.next_cursor;
        assert!(cursor.as_ref().is_some_and(|cursor| cursor.ends_with(starts)), "{number}: {cursor:?}");
    }
    assert_eq!(
        fixture.page(&plain("a "), only_run, cursor.as_deref(), 1, false, WindowBounds::DEFAULT),
        SearchResult { hits: vec![], next_cursor: None }
    );
}

#[test]
fn a_cancelled_search_stops() {
    let fixture = SearchFixture::new();
    let chunks: Vec<_> = (0..400).map(|number| out(&format!("{number} {}\n", "x".repeat(8000)))).collect();
    let mut segmented = fixture.run(&chunks, 100);
    while fixture.seal(&mut segmented) {}
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let is_cancelled = || calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= 2;
    let stop = SearchStop { at: Instant::now() + Duration::from_secs(60), is_cancelled: &is_cancelled };
    let page = search_page(&fixture.history, &plain("absent"), None, None, 10, &stop).expect("searched");
    assert!(page.next_cursor.is_some_and(|cursor| cursor.contains('.')), "it stopped within the run");
    assert_eq!(calls.into_inner(), 3);
}
