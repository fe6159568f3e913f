//! The links of a server: one for each live run that it knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::value::RawValue;
use tokio::net::UnixStream;

use super::{Server, link::Link};
use crate::{
    log::follow,
    model::{Entry, Failure, RunId, entry::PermissionStatus, line},
    supervisor::words::Word,
};

/// How long `shutdown` waits for one supervisor: one that is stopped must not hold it up.
const SYNC_PATIENCE: Duration = Duration::from_secs(2);

/// How many runs that have ended are remembered as such; of older ones nothing more comes.
const REMEMBERED: usize = 10_000;

/// How far before its end a run's last words are looked for, in bytes of its log.
const LAST_WORDS: usize = 16 << 10;

/// All links, by run.
pub struct Links {
    server: Weak<Server>,
    open: Mutex<BTreeMap<RunId, Link>>,
    /// Runs whose link has ended and whose log is still there: they need none.
    over: Mutex<BTreeSet<RunId>>,
    /// The newest rare entry of each run that this client was told of, by whatever way.
    told: Mutex<BTreeMap<RunId, u64>>,
}

impl Links {
    pub fn new(server: Weak<Server>) -> Self {
        Self { server, open: Mutex::default(), over: Mutex::default(), told: Mutex::default() }
    }

    /// Begins a link over the connection that a supervisor was born with.
    pub fn begin(&self, id: RunId, stream: UnixStream) -> Link {
        let link = Link::begin(self.server.clone(), id, Some(stream));
        self.open.lock().expect("nobody panics while holding this").insert(id, link.clone());
        link
    }

    /// The link to a run that may live; `None` for one that has ended or is not there.
    pub fn of(&self, server: &Server, id: RunId) -> Option<Link> {
        self.find_or_begin(server, id).map(|(link, _)| link)
    }

    /// Begins a link to a run that may live, unless there is one. Whether it did.
    pub fn discover(&self, server: &Server, id: RunId) -> bool {
        self.find_or_begin(server, id).is_some_and(|(_, is_new)| is_new)
    }

    fn find_or_begin(&self, server: &Server, id: RunId) -> Option<(Link, bool)> {
        let mut open = self.open.lock().expect("nobody panics while holding this");
        if let Some(link) = open.get(&id) {
            return Some((link.clone(), false));
        }
        let is_over = self.over.lock().expect("nobody panics while holding this").contains(&id);
        if is_over || !server.history.dir(id).path().exists() {
            return None;
        }
        let link = Link::begin(self.server.clone(), id, None);
        open.insert(id, link.clone());
        Some((link, true))
    }

    pub fn ids(&self) -> BTreeSet<RunId> {
        self.open.lock().expect("nobody panics while holding this").keys().copied().collect()
    }

    /// A rare entry came in by a link. Whoever follows the run gets it from the log.
    pub fn rare_entry(&self, server: &Arc<Server>, id: RunId, seq: u64, entry: &RawValue) {
        if !server.followers.is_attached(id) && self.is_news(id, seq) {
            server.broadcast.entry(server, id, entry);
        }
    }

    /// Notes that the client is told of a rare entry, by whatever way. False if it was already.
    pub fn is_news(&self, id: RunId, seq: u64) -> bool {
        let mut told = self.told.lock().expect("nobody panics while holding this");
        let newest = told.entry(id).or_default();
        let is_news = seq > *newest;
        *newest = seq.max(*newest);
        if told.len() > REMEMBERED {
            told.pop_first();
        }
        is_news
    }

    /// A link has ended: its run is final, adopted, or gone. The final state may have come by no link.
    pub async fn ended(&self, server: &Arc<Server>, id: RunId) {
        {
            let mut over = self.over.lock().expect("nobody panics while holding this");
            over.insert(id);
            if over.len() > REMEMBERED {
                over.pop_first();
            }
        }
        self.open.lock().expect("nobody panics while holding this").remove(&id);
        let reader = Arc::clone(server);
        let last = tokio::task::spawn_blocking(move || last_words(&reader, id)).await;
        for word in last.into_iter().flatten().flatten() {
            let seq = follow::seq_of(word.get().as_bytes()).unwrap_or(0);
            if !server.followers.is_attached(id) && self.is_news(id, seq) {
                server.broadcast.entry(server, id, &word);
            }
        }
        server.keeper.seal(id);
    }

    /// Has every live run that this server knows synced.
    pub async fn sync_all(&self) {
        let links: Vec<Link> = self.open.lock().expect("nobody panics while holding this").values().cloned().collect();
        let synced = links.iter().map(|link| tokio::time::timeout(SYNC_PATIENCE, link.push(Word::Sync { seq: None })));
        join_all(synced).await;
    }
}

/// The final entry of a run, if it has one, and the answers to its questions that stand right before it: whoever closed the
/// run told nobody.
fn last_words(server: &Server, id: RunId) -> Result<Vec<Box<RawValue>>, Failure> {
    let Some(run) = server.history.run(id)?.filter(|run| run.state.is_final()) else { return Ok(Vec::new()) };
    let mut lines = Vec::new();
    crate::history::Backwards::new(id, run.last_seq + 1).read(&server.history, LAST_WORDS, &mut lines)?;
    let mut words = Vec::new();
    for line in line::lines(&lines).collect::<Vec<_>>().into_iter().rev() {
        let is_told = match line::parse(line) {
            Ok(Entry::State(state)) => words.is_empty() && state.state.is_final(),
            Ok(Entry::Permission(answer)) => !words.is_empty() && matches!(answer.status, PermissionStatus::Resolved { .. }),
            _ => false,
        };
        let word = std::str::from_utf8(line).ok().filter(|_| is_told);
        let Some(word) = word.and_then(|word| RawValue::from_string(word.to_owned()).ok()) else { break };
        words.push(word);
    }
    words.reverse();
    Ok(words)
}
