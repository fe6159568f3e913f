//! A named pipe at which a program of a test waits until the test lets it go on.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

pub(crate) struct Gate {
    path: PathBuf,
    // Open for reading too, so that opening blocks neither side, and writing does not fail when the program has ended.
    pipe: File,
}

impl Gate {
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let path = directory.join(name);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("a named pipe");
        let pipe = OpenOptions::new().read(true).write(true).open(&path).expect("the pipe opens");
        Self { path, pipe }
    }

    /// A shell command that waits for one line.
    pub(crate) fn wait(&self) -> String {
        format!("read _ < '{}'", self.path.display())
    }

    /// A shell command that prints every line that is sent, until that is `end`.
    pub(crate) fn echo(&self) -> String {
        format!("while read -r line; do [ \"$line\" = end ] && break; echo \"$line\"; done < '{}'", self.path.display())
    }

    /// Lets one waiting program through.
    pub(crate) fn open(&mut self) {
        self.send("go");
    }

    pub(crate) fn send(&mut self, line: &str) {
        writeln!(self.pipe, "{line}").expect("the pipe takes a line");
    }
}
