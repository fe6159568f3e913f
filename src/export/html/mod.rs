//! `html`: one page that needs nothing else. It reads without its script, which only searches.
//!
//! The page says itself that nothing but its own style and script counts (Content-Security-Policy, by a nonce that nobody could know
//! who wrote the text). Everything that comes from elsewhere goes through [`escape`]; the type of a template's values decides that.

mod escape;
mod items;
mod term;

use std::io::{self, Write};

use escape::Visible;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use term::{Colors, OutputLog};

use super::{Render, item_queue::ItemQueue, output_of, summary, transcript_entry};
use crate::model::{Run, RunState, UnixMs};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A run as a page.
pub(crate) struct HtmlPage<'a> {
    run: &'a Run,
    nonce: String,
    colors: Colors,
    began: UnixMs,
    last: UnixMs,
    body: PageBody,
}

enum PageBody {
    Transcript(Box<ItemQueue>),
    Output(Box<OutputLog>),
}

impl<'a> HtmlPage<'a> {
    /// `nonce`: letters and digits that nobody can guess.
    pub(crate) fn new(run: &'a Run, has_transcript: bool, nonce: &str) -> Self {
        let began = summary::began(run);
        let body = if has_transcript {
            PageBody::Transcript(Box::new(ItemQueue::new()))
        } else {
            PageBody::Output(Box::new(OutputLog::new(began)))
        };
        Self { run, nonce: nonce.to_owned(), colors: Colors::default(), began, last: began, body }
    }

    /// All before what was said or printed. `main` is left open.
    fn head(&self) -> Markup {
        let (nonce, title) = (&self.nonce, Visible(summary::title(self.run)));
        let is_output = matches!(self.body, PageBody::Output(_));
        let policy =
            format!("default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'");
        html! {
            (DOCTYPE) "\n"
            (PreEscaped("<html lang=\"en\">\n"))
            head {
                "\n" meta charset="utf-8";
                "\n" meta http-equiv="Content-Security-Policy" content=(policy);
                "\n" meta name="viewport" content="width=device-width, initial-scale=1";
                "\n" meta name="referrer" content="no-referrer";
                "\n" meta name="generator" content={ "loomd " (env!("CARGO_PKG_VERSION")) };
                "\n" title { (title) }
                "\n" style nonce=(nonce) { "\n" (PreEscaped(STYLE)) }
                "\n"
            }
            "\n"
            (PreEscaped(if is_output { "<body class=\"wide\">\n" } else { "<body>\n" }))
            a.skip href="#main" { "Skip to the transcript" } "\n"
            header { "\n" h1 { (title) } "\n" dl { "\n" (self.facts(is_output)) } "\n" } "\n"
            nav aria-label="Search in this page" hidden {
                "\n"
                form role="search" {
                    "\n" input type="search" aria-label="Search in this page" placeholder="Search ( / )" autocomplete="off";
                    "\n" output aria-live="polite" {}
                    "\n" button type="submit" { "Next" }
                    "\n" button type="button" data-way="back" { "Previous" }
                    "\n"
                    @if !is_output {
                        button type="button" data-way="open" { "Unfold all" } "\n"
                        button type="button" data-way="close" { "Fold all" } "\n"
                    }
                }
                "\n"
            }
            "\n"
            (PreEscaped("<main id=\"main\">\n"))
        }
    }

    fn facts(&self, is_output: bool) -> Markup {
        let run = self.run;
        let fact = |name: &str, value: Markup| html! { dt { (name) } dd { (value) } "\n" };
        let code = |text: &str| html! { code { (Visible(text)) } };
        let date = |at: UnixMs| html! { time datetime=(summary::iso(at)) { (summary::date(at)) } };
        let color = match run.state {
            RunState::Succeeded => "good",
            RunState::Failed | RunState::TimedOut | RunState::Lost => "bad",
            _ => "warn",
        };
        html! {
            (fact("Outcome", html! { span.state.(color) { (Visible(summary::outcome(run))) } }))
            (fact("Provider", html! { (Visible(&run.provider)) }))
            @if is_output { (fact("Command", code(&summary::command_line(&run.command)))) }
            (fact("Directory", code(&run.cwd)))
            (fact("Started", date(self.began)))
            @if let Some(end) = run.ended_at {
                (fact("Ended", html! { (date(end)) ", after " (summary::duration(end.saturating_sub(self.began))) }))
            }
            @if let Some(usage) = run.usage.as_ref().and_then(summary::usage) { (fact("Usage", html! { (Visible(usage)) })) }
            @if let Some(session) = &run.session { (fact("Session", code(&session.id))) }
            (fact("Run", code(&run.id.to_string())))
        }
    }

    /// All behind it.
    fn foot(&self) -> Markup {
        let (nonce, rules) = (&self.nonce, self.colors.rules());
        html! {
            (PreEscaped("</main>\n"))
            footer {
                "Exported by loomd " (env!("CARGO_PKG_VERSION")) ". Times are relative to the start of the run; dates are in UTC."
            }
            "\n"
            @if !rules.is_empty() { style nonce=(nonce) { "\n" (PreEscaped(rules)) } "\n" }
            script nonce=(nonce) { "\n" (PreEscaped(SCRIPT)) }
            "\n"
            (PreEscaped("</body>\n</html>\n"))
        }
    }
}

impl Render for HtmlPage<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(self.head().into_string().as_bytes())?;
        match self.body {
            // It is closed at the end of the output.
            PageBody::Output(_) => writeln!(out, "<section class=\"log\" aria-label=\"Output\">"),
            PageBody::Transcript(_) => Ok(()),
        }
    }

    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        match &mut self.body {
            PageBody::Output(log) => {
                let Some((output, raw)) = output_of(line)? else { return Ok(()) };
                self.last = output.at;
                out.write_all(log.feed(output.stream, output.at, &raw, &mut self.colors).as_bytes())
            }
            PageBody::Transcript(queue) => {
                let Some(entry) = transcript_entry(line)? else { return Ok(()) };
                let items = items::nodes(&queue.take(&entry), self.began, &mut self.colors);
                out.write_all(items.into_string().as_bytes())
            }
        }
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match &mut self.body {
            PageBody::Output(log) => {
                out.write_all(log.finish(self.last, &mut self.colors).as_bytes())?;
                writeln!(out, "</section>")?;
                if log.is_empty() {
                    writeln!(out, "<p>No output.</p>")?;
                }
            }
            PageBody::Transcript(queue) => {
                let items = items::nodes(&queue.finish(), self.began, &mut self.colors);
                out.write_all(items.into_string().as_bytes())?;
            }
        }
        out.write_all(self.foot().into_string().as_bytes())
    }
}

#[cfg(test)]
pub(crate) mod tests;
