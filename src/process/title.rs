//! The argv of this process as others see it. A process that learns only later what it does says so by changing it.

use std::io;

/// The last words of this process's argv, in the memory from which the system shows them.
#[derive(Debug)]
pub(crate) struct LastWords {
    address: usize,
    bytes: usize,
}

impl LastWords {
    /// Finds the words, which are the last ones of this process's argv.
    pub(crate) fn find(words: &[&str]) -> io::Result<Self> {
        let bytes = words.iter().map(|word| word.len() + 1).sum();
        let found = argv_end().and_then(|end| Some(Self { address: end.checked_sub(bytes)?, bytes }));
        found.filter(|found| found.shown() == joined(words)).ok_or_else(|| io::Error::other("the argv of this process cannot be changed"))
    }

    /// Puts other words in their place, which are as long all together.
    #[expect(unsafe_code, reason = "the bytes were found to be those of argv, which are writable and which nothing else here uses")]
    pub(crate) fn replace(self, words: &[&str]) {
        let new = joined(words);
        assert_eq!(new.len(), self.bytes, "the new words take the place of the old ones");
        // SAFETY: `find` has seen that these bytes belong to argv, in this process's own stack.
        unsafe { std::ptr::copy_nonoverlapping(new.as_ptr(), self.address as *mut u8, self.bytes) };
    }

    #[expect(unsafe_code, reason = "the system says that argv ends there, and the words that were given are a part of it")]
    fn shown(&self) -> &[u8] {
        // SAFETY: the bytes before the end of argv belong to argv, which is at least as long as its last words.
        unsafe { std::slice::from_raw_parts(self.address as *const u8, self.bytes) }
    }
}

fn joined(words: &[&str]) -> Vec<u8> {
    words.iter().flat_map(|word| word.bytes().chain([0])).collect()
}

/// The address behind the last byte of argv, by proc_pid_stat(5). `None` where the system does not tell, or has another
/// argv than this process was started with.
fn argv_end() -> Option<usize> {
    let stat = std::fs::read("/proc/self/stat").ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(45);
    let (start, end): (usize, usize) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let length: usize = std::env::args_os().map(|word| word.len() + 1).sum();
    (start != 0 && end.checked_sub(start)? == length).then_some(end)
}
