//! In which runs' trees a process stands. Its ancestors tell, because a supervisor is the subreaper of its tree, and the mark in
//! their environments, where there are no subreapers. So a process that cleared its environment, or that left its group, is known
//! all the same. This is no boundary against a program that runs as the user: it can have something outside start it again.

use std::sync::OnceLock;

use super::{
    detach::{READY_WORD, RUN_MARK_VARIABLE},
    tree,
};
use crate::model::RunId;

/// As many ancestors are looked at; a chain is longer only by a mistake of the system's.
const MAX_ANCESTORS: usize = 256;

/// The runs around a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EnclosingRuns {
    /// The runs of the supervisors among its ancestors, the innermost first.
    supervised: Vec<RunId>,
    /// The runs whose mark it or an ancestor has.
    marked: Vec<RunId>,
}

impl EnclosingRuns {
    /// Those of the process `pid`; `None` if it is gone.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let mut runs = Self::default();
        let mut process = tree::observe(pid)?;
        for _ in 0..MAX_ANCESTORS {
            if let Some(run) = supervised_run(&tree::argv(process.pid)) {
                runs.supervised.push(run);
            }
            if let Some(run) = tree::mark_of(process.pid).and_then(|mark| mark.parse().ok()) {
                runs.add_mark(run);
            }
            match tree::observe(process.parent) {
                Some(parent) if process.parent != 0 => process = parent,
                _ => break,
            }
        }
        Some(runs)
    }

    /// Those of this process, as they were when it was asked first.
    pub(crate) fn own() -> &'static Self {
        static OWN: OnceLock<EnclosingRuns> = OnceLock::new();
        OWN.get_or_init(|| {
            let mut runs = Self::of(std::process::id()).unwrap_or_default();
            if let Some(run) = std::env::var(RUN_MARK_VARIABLE).ok().and_then(|mark| mark.parse().ok()) {
                runs.add_mark(run);
            }
            runs
        })
    }

    fn add_mark(&mut self, run: RunId) {
        if !self.marked.contains(&run) {
            self.marked.push(run);
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<RunId> {
        let marked = self.marked.iter().filter(|run| !self.supervised.contains(run));
        self.supervised.iter().chain(marked).copied().collect()
    }

    /// Those by which the process is limited: the innermost one, and each whose mark it has. A mark that somebody set limits
    /// further; it takes no limit away.
    pub(crate) fn limits(&self) -> Vec<RunId> {
        let innermost = self.supervised.first();
        innermost.into_iter().chain(self.marked.iter().filter(|run| Some(*run) != innermost)).copied().collect()
    }
}

/// Whether a process is a supervisor that waits for a run, by its argv.
pub(crate) fn waits_for_run(pid: u32) -> bool {
    matches!(&*tree::argv(pid), [_, command, word, ..] if command == "supervise" && word == READY_WORD)
}

/// The run that a process supervises, by its argv.
fn supervised_run(argv: &[String]) -> Option<RunId> {
    match argv {
        [_, command, run, ..] if command == "supervise" => run.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn start(command: &mut Command) -> Child {
        command.stdin(Stdio::piped()).spawn().expect("it starts")
    }

    /// Waits until the process has called exec, so that its argv and environment are its own.
    fn enclosing_runs(child: &Child) -> EnclosingRuns {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while tree::argv(child.id()) == tree::argv(std::process::id()) && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        EnclosingRuns::of(child.id()).expect("it lives")
    }

    fn end(mut child: Child) {
        drop(child.stdin.take());
        child.wait().expect("it is our child");
    }

    #[test]
    fn a_mark_is_found_and_a_supervisor_is_known_by_its_argv() {
        let run = RunId::new();
        let marked = start(Command::new("cat").env_clear().env(RUN_MARK_VARIABLE, run.to_string()));
        let found = enclosing_runs(&marked);
        assert_eq!((found.limits(), found.all()), (vec![run], vec![run]));
        end(marked);
        assert_eq!(supervised_run(&["loomd".to_owned(), "supervise".to_owned(), run.to_string()]), Some(run));
        assert_eq!(supervised_run(&["loomd".to_owned(), "cancel".to_owned(), run.to_string()]), None);
    }

    #[test]
    fn a_foreign_mark_takes_no_limit_away() {
        let (inner, outer, foreign) = (RunId::new(), RunId::new(), RunId::new());
        let runs = EnclosingRuns { supervised: vec![inner, outer], marked: vec![foreign, inner] };
        assert_eq!(runs.limits(), [inner, foreign]);
        assert_eq!(runs.all(), [inner, outer, foreign]);
        assert_eq!(EnclosingRuns { marked: vec![outer], ..EnclosingRuns::default() }.limits(), [outer]);
    }
}
