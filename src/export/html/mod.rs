//! `html`: one page that needs nothing else. It reads without its script, which only searches.
//!
//! The page says itself that nothing but its own style and script counts (Content-Security-Policy, by a nonce that nobody could know
//! who wrote the text), and everything that comes from elsewhere goes through [`escape`].

mod escape;
mod items;
mod term;

use std::io::{self, Write};

use escape::text;
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

    fn head(&self, out: &mut dyn Write) -> io::Result<()> {
        let (nonce, title) = (&self.nonce, text(&summary::title(self.run)));
        let class = if matches!(self.body, PageBody::Output(_)) { " class=\"wide\"" } else { "" };
        write!(
            out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
             base-uri 'none'; form-action 'none'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
             <meta name=\"generator\" content=\"loomd {}\">\n<title>{title}</title>\n<style nonce=\"{nonce}\">\n{STYLE}</style>\n</head>\n\
             <body{class}>\n<a class=\"skip\" href=\"#main\">Skip to the transcript</a>\n<header>\n<h1>{title}</h1>\n<dl>\n",
            env!("CARGO_PKG_VERSION")
        )?;
        self.facts(out)?;
        write!(
            out,
            "</dl>\n</header>\n<nav aria-label=\"Search in this page\" hidden>\n<form role=\"search\">\n\
             <input type=\"search\" aria-label=\"Search in this page\" placeholder=\"Search ( / )\" autocomplete=\"off\">\n\
             <output aria-live=\"polite\"></output>\n<button type=\"submit\">Next</button>\n\
             <button type=\"button\" data-way=\"back\">Previous</button>\n"
        )?;
        if matches!(self.body, PageBody::Transcript(_)) {
            write!(
                out,
                "<button type=\"button\" data-way=\"open\">Unfold all</button>\n<button type=\"button\" data-way=\"close\">Fold all</button>\n"
            )?;
        }
        writeln!(out, "</form>\n</nav>\n<main id=\"main\">")
    }

    fn facts(&self, out: &mut dyn Write) -> io::Result<()> {
        let run = self.run;
        let mut fact = |name: &str, value: &str| writeln!(out, "<dt>{name}</dt><dd>{value}</dd>");
        let color = match run.state {
            RunState::Succeeded => "good",
            RunState::Failed | RunState::TimedOut | RunState::Lost => "bad",
            _ => "warn",
        };
        fact("Outcome", &format!("<span class=\"state {color}\">{}</span>", text(&summary::outcome(run))))?;
        fact("Provider", &text(&run.provider))?;
        if matches!(self.body, PageBody::Output(_)) {
            fact("Command", &format!("<code>{}</code>", text(&summary::command_line(&run.command))))?;
        }
        fact("Directory", &format!("<code>{}</code>", text(&run.cwd)))?;
        let date = |at: UnixMs| format!("<time datetime=\"{}\">{}</time>", summary::iso(at), summary::date(at));
        fact("Started", &date(self.began))?;
        if let Some(end) = run.ended_at {
            fact("Ended", &format!("{}, after {}", date(end), summary::duration(end.saturating_sub(self.began))))?;
        }
        if let Some(usage) = run.usage.as_ref().and_then(summary::usage) {
            fact("Usage", &text(&usage))?;
        }
        if let Some(session) = &run.session {
            fact("Session", &format!("<code>{}</code>", text(&session.id)))?;
        }
        fact("Run", &format!("<code>{}</code>", run.id))
    }
}

impl Render for HtmlPage<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.head(out)?;
        match self.body {
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
                items::write(&queue.take(&entry), self.began, &mut self.colors, out)
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
                items::write(&queue.finish(), self.began, &mut self.colors, out)?;
            }
        }
        let (nonce, rules) = (&self.nonce, self.colors.rules());
        writeln!(
            out,
            "</main>\n<footer>Exported by loomd {}. Times are relative to the start of the run; dates are in UTC.</footer>",
            env!("CARGO_PKG_VERSION")
        )?;
        if !rules.is_empty() {
            writeln!(out, "<style nonce=\"{nonce}\">\n{rules}</style>")?;
        }
        writeln!(out, "<script nonce=\"{nonce}\">\n{SCRIPT}</script>\n</body>\n</html>")
    }
}

#[cfg(test)]
pub(crate) mod tests;
