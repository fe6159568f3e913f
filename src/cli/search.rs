//! `loomd search`: lines in what runs have written, as grep shows them.

use anstyle::{AnsiColor, Style};

use super::{
    Stop,
    client::Launch,
    render::{self, Ink},
    words,
};
use crate::model::{
    Stream,
    calls::{SearchHit, SearchParams, SearchResult},
};

/// Most hits of a page. What is found is shown within a second all the same, which is as long as a page may take.
const PAGE: u64 = 1000;

/// Find lines in the output of runs, the newest run first
#[derive(clap::Args, Debug)]
#[command(after_help = "\
A hit is shown as RUN:OFFSET: LINE, or RUN:stderr:OFFSET: LINE; `loomd logs RUN --offset OFFSET` prints the output from there on.
Colours do not count, and in lines of JSON the texts are searched as they read. The exit code is 0 where something was found, 1 where nothing was, and 2 for an error.")]
pub struct Options {
    /// What to look for: a text
    pub query: String,
    /// It is a regular expression
    #[arg(long, short = 'e')]
    pub regex: bool,
    /// Upper and lower case are the same
    #[arg(long, short)]
    pub ignore_case: bool,
    /// Only in this run
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// At most so many lines [default: all]
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = words::parse_some)]
    pub limit: Option<u64>,
    /// Print each hit as a line of JSON
    #[arg(long)]
    pub json: bool,
}

/// As grep exits, so that a script can tell an error from nothing found.
const ERROR: u8 = 2;

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    match search(options, launch).await {
        Err(Stop::Failure(failure)) => {
            render::tell_failure(&failure);
            Ok(ERROR)
        }
        ended => ended,
    }
}

async fn search(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let run_id = match &options.run {
        Some(run) => Some(session.run_id(run).await?),
        None => None,
    };
    let mut params = SearchParams {
        query: options.query.clone(),
        regex: Some(options.regex),
        ignore_case: Some(options.ignore_case),
        run_id,
        limit: None,
        cursor: None,
    };
    let marker = Marker::new(&options, Ink::of_stdout());
    let (mut left, mut found) = (options.limit.unwrap_or(u64::MAX), false);
    while left > 0 {
        params.limit = Some(left.min(PAGE));
        let page: SearchResult = session.call("run/search", &params).await?;
        left = left.saturating_sub(page.hits.len() as u64);
        found |= !page.hits.is_empty();
        if options.json {
            page.hits.iter().try_for_each(render::print_json)?;
        } else if !page.hits.is_empty() {
            render::print(&page.hits.iter().map(|hit| marker.line(hit)).collect::<String>())?;
        }
        params.cursor = page.next_cursor;
        if params.cursor.is_none() {
            break;
        }
    }
    session.close().await;
    Ok(if found { 0 } else { 1 })
}

/// Makes lines of hits, with what was looked for in colour.
struct Marker {
    ink: Ink,
    query: Option<regex::Regex>,
}

impl Marker {
    fn new(options: &Options, ink: Ink) -> Self {
        let pattern = if options.regex { options.query.clone() } else { regex::escape(&options.query) };
        let query = regex::RegexBuilder::new(&pattern).case_insensitive(options.ignore_case).build().ok();
        Self { ink, query: query.filter(|_| ink.has_colour) }
    }

    fn line(&self, hit: &SearchHit) -> String {
        let run = self.ink.paint(AnsiColor::Magenta.on_default(), &words::short(hit.run_id));
        let offset = self.ink.paint(AnsiColor::Green.on_default(), &hit.offset.to_string());
        let stream = if hit.stream == Stream::Stderr { "stderr:" } else { "" };
        // A tab stays one; nothing else of it moves a terminal.
        let line = words::plain_lines(&hit.line);
        format!("{run}:{stream}{offset}: {}\n", self.marked(&line))
    }

    fn marked(&self, line: &str) -> String {
        const STYLE: Style = AnsiColor::Red.on_default().bold();
        let Some(query) = &self.query else { return line.to_owned() };
        query.replace_all(line, |found: &regex::Captures<'_>| self.ink.paint(STYLE, &found[0])).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunId;

    #[test]
    fn a_hit_is_a_line() {
        let options = |regex, ignore_case| Options { query: "a.b".to_owned(), regex, ignore_case, run: None, limit: None, json: false };
        let run_id: RunId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
        let hit = |stream, line: &str| SearchHit { run_id, seq: 2, stream, offset: 70, line: line.to_owned() };
        let plain = Marker::new(&options(false, false), Ink { has_colour: false });
        assert_eq!(plain.line(&hit(Stream::Stdout, "x a.b\ty\u{7}")), "099a8057:70: x a.b\ty␣\n");
        assert_eq!(plain.line(&hit(Stream::Stderr, "a.b")), "099a8057:stderr:70: a.b\n");
        let coloured = |regex, case| Marker::new(&options(regex, case), Ink { has_colour: true }).marked("acb a.b A.B");
        assert_eq!(coloured(false, false), "acb \x1b[1m\x1b[31ma.b\x1b[0m A.B");
        assert_eq!(coloured(true, true).matches("\x1b[0m").count(), 3);
    }
}
