//! `run/search`.

use std::{
    cmp::max,
    time::{Duration, Instant},
};

use super::{Request, UNREAD, on_a_thread};
use crate::{
    model::{
        Failure,
        calls::{SearchParams, SearchResult},
    },
    search::{Cursor, Pattern, Stop, page},
};

const DEFAULT_LIMIT: u64 = 50;
const MOST: u64 = 1000;
/// A page is answered so long after it was asked for, which leaves the client a part of its second;
const TIME: Duration = Duration::from_millis(750);
/// and one that had no turn by then is answered with no more than where to begin.
const WAIT: Duration = Duration::from_millis(650);
/// A page has this long for itself, however long it had to wait.
const LEAST_TIME: Duration = Duration::from_millis(100);

pub async fn search(params: SearchParams, request: Request) -> Result<SearchResult, Failure> {
    let asked = Instant::now();
    let SearchParams { query, regex, ignore_case, run_id, limit, cursor } = params;
    let (is_regex, ignore_case) = (regex.unwrap_or(false), ignore_case.unwrap_or(false));
    let refused = |reason| Failure::invalid_params("query", reason);
    Pattern::check(&query, is_regex).map_err(refused)?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(Failure::invalid_params("limit", format!("`limit` must be between 1 and {MOST}; the next page has more")));
    }
    let cursor = cursor.as_deref().map(str::parse::<Cursor>).transpose();
    let cursor = cursor.ok().filter(|cursor| cursor.is_none_or(|cursor| cursor.is_of(run_id)));
    let wrong = || Failure::invalid_params("cursor", "`cursor` must be the `nextCursor` of the page before; leave it out to begin anew");
    let cursor = cursor.ok_or_else(wrong)?;
    let server = &request.server;
    // Of those that wait, the ones that nobody wants any more must not be made.
    let cancel = request.call.cancel.child_token();
    let _turn = tokio::select! {
        turn = server.searches.acquire() => turn,
        () = cancel.cancelled() => return Err(Failure::cancelled()),
        () = tokio::time::sleep_until((asked + WAIT).into()) => {
            let next = cursor.unwrap_or_else(|| Cursor::beginning(run_id));
            return Ok(SearchResult { hits: Vec::new(), next_cursor: Some(next.to_string()) });
        }
    };
    server.out.control_below(UNREAD).await;
    // A connection that ends drops this, and with it the work.
    let _guard = cancel.clone().drop_guard();
    on_a_thread(server, move |history| {
        if let Some(run) = run_id {
            history.known_run(run)?;
        }
        // Not before its turn, and not where other requests would have to wait for it.
        let pattern = Pattern::new(&query, is_regex, ignore_case).map_err(refused)?;
        let stop = Stop { at: max(asked + TIME, Instant::now() + LEAST_TIME), is_cancelled: &|| cancel.is_cancelled() };
        page(history, &pattern, run_id, cursor, limit as usize, &stop)
    })
    .await
}
