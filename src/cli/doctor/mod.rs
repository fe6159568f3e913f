//! `loomd doctor`: what is where, what is wrong, and how to mend it.
//!
//! It works when no server starts: it looks at files by itself, and changes none. What only a server can know
//! (the store's figures, whether each live run answers) it asks one, by the protocol.

mod files;
mod server;
mod system;

use serde::Serialize;

use super::{Stop, client::Launch, render};

/// Look whether all is well, and say how to mend what is not
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Print the findings as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    grade: Grade,
    /// What was looked at.
    subject: &'static str,
    /// What was seen.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Ok,
    Warning,
    Error,
}

#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    grade: Grade,
    findings: &'a [Finding],
}

impl Finding {
    fn ok(subject: &'static str, found: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, subject, found: found.into(), mend: None }
    }

    fn warning(subject: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { grade: Grade::Warning, subject, found: found.into(), mend: Some(mend.into()) }
    }

    fn error(subject: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { grade: Grade::Error, subject, found: found.into(), mend: Some(mend.into()) }
    }

    fn line(&self) -> String {
        use anstyle::AnsiColor::{Green, Red, Yellow};
        let (word, colour) = match self.grade {
            Grade::Ok => ("ok", Green),
            Grade::Warning => ("warning", Yellow),
            Grade::Error => ("error", Red),
        };
        let style = colour.on_default();
        let mend = self.mend.as_ref().map_or_else(String::new, |mend| format!("; {mend}"));
        format!("{style}{word:<7}{style:#}  {:<14}  {}{mend}\n", self.subject, self.found)
    }
}

/// Exit code 1 if there is an error.
pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let mut findings = system::look();
    findings.extend(files::look(&launch.places));
    findings.extend(server::ask(launch).await);
    let grade = findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Ok);
    if options.json {
        render::print_json(&Report { version: env!("CARGO_PKG_VERSION"), grade, findings: &findings })?;
    } else {
        render::print(&findings.iter().map(Finding::line).collect::<String>())?;
    }
    Ok(u8::from(grade == Grade::Error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_that_says_what_to_do() {
        let finding = Finding::error("data directory", "/d is on NFS", "set LOOMD_DATA_DIR");
        let line = anstream::adapter::strip_str(&finding.line()).to_string();
        assert_eq!(line, "error    data directory  /d is on NFS; set LOOMD_DATA_DIR\n");
    }
}
