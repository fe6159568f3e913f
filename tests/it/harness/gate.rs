//! A named pipe through which a test tells a program, word by word, what to do next.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

pub struct Gate {
    path: PathBuf,
    // Open for reading too, so that opening blocks neither side and a program that is gone breaks nothing.
    pipe: File,
}

impl Gate {
    pub fn new(directory: &Path, name: &str) -> Self {
        let path = directory.join(name);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("a named pipe");
        let pipe = OpenOptions::new().read(true).write(true).open(&path).expect("the pipe opens");
        Self { path, pipe }
    }

    /// Shell words that wait here for one line.
    pub fn wait(&self) -> String {
        format!("read _ < '{}'", self.path.display())
    }

    /// Shell words that print every line that is sent, until the gate is told to end.
    pub fn echo(&self) -> String {
        format!("while read -r line; do [ \"$line\" = end ] && break; echo \"$line\"; done < '{}'", self.path.display())
    }

    /// Lets one waiting program through.
    pub fn open(&mut self) {
        self.send("go");
    }

    pub fn send(&mut self, line: &str) {
        writeln!(self.pipe, "{line}").expect("the pipe takes a line");
    }
}
