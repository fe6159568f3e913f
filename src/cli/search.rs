//! `loomd search`: finds lines in the output of runs and prints them as grep does.

use std::cell::{Cell, RefCell};

use anstyle::{AnsiColor, Style};

use super::{
    EarlyExit, format,
    render::{self, Styles},
};
use crate::{
    client::{ServerLaunch, ServerSession},
    model::{
        Failure, Stream,
        calls::{SearchHit, SearchParams},
        methods::RunSearch,
    },
};

/// Most hits in one page of `run/search`. A page also ends after a second, so that hits are shown soon.
const MAX_PAGE_HITS: u64 = 1000;

/// Search the output of runs, newest run first
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Prints RUN:OFFSET: LINE, or RUN:stderr:OFFSET: LINE.
`loomd logs RUN --offset OFFSET` prints the output from there.
Color codes are ignored, and text inside JSON lines is searched decoded.
With --host NAME,NAME several hosts are searched at once; lines come as each host finds them.

Exit code: 0 if a line was found, 1 if none was, 2 on an error.")]
pub(crate) struct Options {
    /// Text to search for
    pub(crate) query: String,
    /// Search for a regular expression
    #[arg(long, short = 'e')]
    pub(crate) regex: bool,
    /// Ignore case
    #[arg(long, short)]
    pub(crate) ignore_case: bool,
    /// Search only this run
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Print at most COUNT lines [default: all]
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = format::parse_positive_count)]
    pub(crate) limit: Option<u64>,
    /// Print each hit as a JSON line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Exit code for an error, as grep has it, so that a script can tell it from "not found".
const EXIT_ERROR: u8 = 2;

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    match search(options, launch).await {
        Err(EarlyExit::Failure(failure)) => {
            render::print_failure(&failure);
            Ok(EXIT_ERROR)
        }
        result => result,
    }
}

async fn search(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let hits = Hits { remaining: Cell::new(options.limit.unwrap_or(u64::MAX)), found: Cell::new(false), stop: RefCell::new(None) };
    if launch.hosts.len() < 2 {
        let session = launch.open_without_notifications().await?;
        print_hits(&options, launch, &session, &hits).await?;
        session.close().await;
        return hits.exit_code();
    }
    let mut has_failed = false;
    for (_, answer) in launch.ask_each_host(async |launch, session| print_hits(&options, launch, session, &hits).await).await {
        if let Err(failure) = answer {
            render::print_failure(&failure);
            has_failed = true;
        }
    }
    let code = hits.exit_code()?;
    Ok(if has_failed { EXIT_ERROR } else { code })
}

/// What all hosts together have found and may still find.
struct Hits {
    remaining: Cell<u64>,
    found: Cell<bool>,
    /// The output could not be written.
    stop: RefCell<Option<EarlyExit>>,
}

impl Hits {
    fn exit_code(self) -> Result<u8, EarlyExit> {
        self.stop.into_inner().map_or(Ok(u8::from(!self.found.get())), Err)
    }
}

/// Prints the hits of one server as they come.
async fn print_hits(options: &Options, launch: &ServerLaunch, session: &ServerSession, hits: &Hits) -> Result<(), Failure> {
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
    let marker = Marker::new(options, launch, Styles::of_stdout());
    while hits.remaining.get() > 0 && hits.stop.borrow().is_none() {
        params.limit = Some(hits.remaining.get().min(MAX_PAGE_HITS));
        let mut page = session.call(RunSearch, &params).await?;
        // Another host may have found something meanwhile.
        page.hits.truncate(usize::try_from(hits.remaining.get()).unwrap_or(usize::MAX));
        hits.remaining.set(hits.remaining.get().saturating_sub(page.hits.len() as u64));
        hits.found.set(hits.found.get() || !page.hits.is_empty());
        let printed = match options.json {
            true => page.hits.iter().try_for_each(|hit| render::print_json_of(launch.host(), hit)),
            false if page.hits.is_empty() => Ok(()),
            false => render::print(&page.hits.iter().map(|hit| marker.line(hit)).collect::<String>()),
        };
        if let Err(stop) = printed {
            hits.stop.replace(Some(stop));
        }
        params.cursor = page.next_cursor;
        if params.cursor.is_none() {
            break;
        }
    }
    Ok(())
}

/// Formats hits as lines, with the matching text in color.
struct Marker<'a> {
    launch: &'a ServerLaunch,
    styles: Styles,
    query: Option<regex::Regex>,
}

impl<'a> Marker<'a> {
    fn new(options: &Options, launch: &'a ServerLaunch, styles: Styles) -> Self {
        let pattern = if options.regex { options.query.clone() } else { regex::escape(&options.query) };
        // Without a valid expression nothing is colored; the server reports what is wrong with it.
        let query = regex::RegexBuilder::new(&pattern).case_insensitive(options.ignore_case).build().ok();
        Self { launch, styles, query: query.filter(|_| styles.has_color) }
    }

    fn line(&self, hit: &SearchHit) -> String {
        let run = self.styles.apply(AnsiColor::Magenta.on_default(), &self.launch.shown_id(hit.run_id));
        let offset = self.styles.apply(AnsiColor::Green.on_default(), &hit.offset.to_string());
        let stream = if hit.stream == Stream::Stderr { "stderr:" } else { "" };
        // Tabs stay; other control characters must not reach the terminal.
        let line = format::plain_lines(&hit.line);
        format!("{run}:{stream}{offset}: {}\n", self.marked(&line))
    }

    fn marked(&self, line: &str) -> String {
        const MATCH_STYLE: Style = AnsiColor::Red.on_default().bold();
        let Some(query) = &self.query else { return line.to_owned() };
        query.replace_all(line, |found: &regex::Captures<'_>| self.styles.apply(MATCH_STYLE, &found[0])).into_owned()
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
        let launch = ServerLaunch::default();
        let plain = Marker::new(&options(false, false), &launch, Styles { has_color: false });
        assert_eq!(plain.line(&hit(Stream::Stdout, "x a.b\ty\u{7}")), "099a8057:70: x a.b\ty␣\n");
        assert_eq!(plain.line(&hit(Stream::Stderr, "a.b")), "099a8057:stderr:70: a.b\n");
        let colored = |regex, case| Marker::new(&options(regex, case), &launch, Styles { has_color: true }).marked("acb a.b A.B");
        assert_eq!(colored(false, false), "acb \x1b[1m\x1b[31ma.b\x1b[0m A.B");
        assert_eq!(colored(true, true).matches("\x1b[0m").count(), 3);
    }
}
