//! Removes runs without a request: those that are old, and those that exceed the bounds on size and number.
//!
//! One server does it once an hour for all. A clock can be wrong: after a jump it must be steady for a day before ages
//! count, and by age no more than a tenth of the runs are removed in a day.

use std::path::Path;

use super::{
    edits::{self, PublishedEdit},
    prune::{self, PruneBounds},
};
use crate::{
    history::History,
    model::{Failure, UnixMs, calls::Retention},
    process::lock::Lock,
    store::RetentionMarks,
    supervisor,
};

const HOUR_MS: UnixMs = 3_600_000;
const DAY_MS: UnixMs = 24 * HOUR_MS;
/// Two rounds that are further apart by the clock count as a jump; a jump cannot be told from a holiday.
const CLOCK_JUMP_MS: UnixMs = 7 * DAY_MS;
/// The fraction of the runs that may be removed by age in a day is one divided by this.
const DAILY_SHARE_DIVISOR: u64 = 10;

/// Enforces the bounds, unless a server did so within the hour or is doing it now.
pub(crate) fn enforce(history: &History, data_dir: &Path, retention: &Retention) {
    let unbounded = Retention { max_age_days: 0, max_bytes: 0, max_runs: 0 };
    if *retention == unbounded {
        return;
    }
    match Lock::try_take_or_create(&data_dir.join(".retention")) {
        Ok(Some(_lock)) => {
            if let Err(failure) = enforce_at(history, data_dir, retention, supervisor::now()) {
                tracing::warn!(%failure, "retention failed; loomd tries again later");
            }
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "retention failed; loomd tries again later"),
    }
}

fn enforce_at(history: &History, data_dir: &Path, retention: &Retention, now: UnixMs) -> Result<(), Failure> {
    let stats = history.store.stats()?;
    if stats.runs == 0 {
        return Ok(());
    }
    let mut by_age = None;
    history.store.mark_retention(|marks| by_age = age_allowance(marks, now, stats.runs))?;
    let Some(by_age) = by_age else { return Ok(()) };
    let bound = |bound: u64| (bound > 0).then_some(bound);
    let ended_before = bound(retention.max_age_days).map(|days| now.saturating_sub(days.saturating_mul(DAY_MS)));
    // Removals by age are counted for the day, so they are a prune of their own.
    let old = prune::prune(history, data_dir, PruneBounds { ended_before, max_by_age: Some(by_age), ..PruneBounds::default() })?;
    history.store.mark_retention(|marks| marks.deleted += old.runs.len() as u64)?;
    let bounds = PruneBounds { keep_runs: bound(retention.max_runs), max_bytes: bound(retention.max_bytes), ..PruneBounds::default() };
    let mut deleted = old.runs;
    deleted.extend(prune::prune(history, data_dir, bounds)?.runs);
    if deleted.is_empty() {
        return Ok(());
    }
    tracing::info!(runs = deleted.len(), "retention deleted runs");
    if let Err(error) = edits::publish(&history.runs, &PublishedEdit::Deleted(deleted)) {
        tracing::warn!(%error, "other servers are not notified of the deletion");
    }
    if let (false, Some(reason)) = prune::compact_store(history) {
        tracing::info!(reason, "the store's file did not shrink");
    }
    Ok(())
}

/// Begins a round if one is due, and returns how many runs may be removed by age. `None`: a round was done within the
/// hour.
fn age_allowance(marks: &mut RetentionMarks, now: UnixMs, runs: u64) -> Option<u64> {
    let since = now.checked_sub(marks.at);
    if since.is_some_and(|since| since < HOUR_MS) {
        return None;
    }
    if since.is_none_or(|since| since > CLOCK_JUMP_MS) {
        marks.steady_since = now;
    }
    marks.at = now;
    if marks.day != now / DAY_MS {
        (marks.day, marks.deleted) = (now / DAY_MS, 0);
    }
    let is_steady = now.saturating_sub(marks.steady_since) >= DAY_MS;
    Some(if is_steady { (runs / DAILY_SHARE_DIVISOR).max(1).saturating_sub(marks.deleted) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Run, RunId, RunState, Stream, line},
        store::Store,
    };

    /// A day long after the epoch.
    const TODAY_MS: UnixMs = 20_000 * DAY_MS;

    /// A store with runs that ended so many days before today.
    fn data(days: impl IntoIterator<Item = u64>) -> (tempfile::TempDir, History, Vec<RunId>) {
        let data = tempfile::tempdir().expect("a directory");
        let history = History { runs: data.path().join("runs"), store: Store::at(data.path()) };
        std::fs::create_dir(&history.runs).expect("made");
        let ids = days.into_iter().enumerate().map(|(number, days)| {
            let id = RunId::from_bytes([[0, 0, 0, 1 + number as u8].as_slice(), &[7; 12]].concat().try_into().expect("sixteen"));
            let mut run = Run { ended_at: Some(TODAY_MS - days * DAY_MS), ..crate::store::test_run(id) };
            history.store.put_run(&run, None, || true).expect("recorded");
            let (mut lines, mut noise) = (Vec::new(), vec![0; 30_000]);
            blake3::Hasher::new().update(&[number as u8]).finalize_xof().fill(&mut noise);
            line::write_output(&mut lines, id, 1, 1, Stream::Stdout, 0, &noise);
            history.store.seal(id, &lines).expect("sealed");
            (run.state, run.last_seq) = (RunState::Succeeded, 1);
            assert!(history.store.finish(&run).expect("finished"));
            id
        });
        let ids = ids.collect();
        (data, history, ids)
    }

    fn remaining(history: &History, ids: &[RunId]) -> Vec<usize> {
        (0..ids.len()).filter(|at| history.store.run(ids[*at]).expect("readable").is_some()).collect()
    }

    /// Enforces the bounds each hour for some days.
    fn enforce_hourly(days: u64, from: UnixMs, data: &Path, history: &History, retention: &Retention) {
        for hour in 0..=days * 24 {
            enforce_at(history, data, retention, from + hour * HOUR_MS).expect("enforced");
        }
    }

    #[test]
    fn old_runs_go_a_tenth_a_day_and_pinned_ones_stay() {
        let (data, history, ids) = data((0..30).map(|number| 200 - number));
        history.store.edit(ids[1], |run| run.pinned = true).expect("pinned");
        let retention = Retention { max_age_days: 180, ..Retention::default() };
        enforce_at(&history, data.path(), &retention, TODAY_MS).expect("enforced");
        assert_eq!(remaining(&history, &ids).len(), 30, "the clock has not been seen for a day");
        enforce_hourly(1, TODAY_MS, data.path(), &history, &retention);
        assert_eq!(remaining(&history, &ids)[..3], [1, 4, 5], "a tenth, the oldest, and not the pinned one");
        enforce_hourly(1, TODAY_MS + DAY_MS, data.path(), &history, &retention);
        assert_eq!(remaining(&history, &ids)[..3], [1, 6, 7]);
        enforce_hourly(30, TODAY_MS + 2 * DAY_MS, data.path(), &history, &retention);
        assert_eq!(remaining(&history, &ids), [1], "all are old by now");
    }

    #[test]
    fn a_clock_that_jumps_deletes_nothing() {
        let (data, history, ids) = data(0..20);
        let retention = Retention::default();
        enforce_hourly(3, TODAY_MS, data.path(), &history, &retention);
        for jumped in [
            TODAY_MS + 4000 * DAY_MS,
            TODAY_MS + 3 * DAY_MS,
            TODAY_MS + 9000 * DAY_MS,
            TODAY_MS - 100 * DAY_MS,
            TODAY_MS + 5 * DAY_MS,
            TODAY_MS + 100 * DAY_MS,
        ] {
            enforce_at(&history, data.path(), &retention, jumped).expect("enforced");
            enforce_at(&history, data.path(), &retention, jumped + 2 * HOUR_MS).expect("enforced");
        }
        assert_eq!(remaining(&history, &ids).len(), 20);
    }

    #[test]
    fn number_and_size_are_bounded_at_once() {
        let (data, history, ids) = data([0; 20]);
        history.store.edit(ids[0], |run| run.pinned = true).expect("pinned");
        let number = Retention { max_runs: 15, ..Retention::default() };
        enforce_at(&history, data.path(), &number, TODAY_MS).expect("enforced");
        assert_eq!(remaining(&history, &ids), [&[0][..], &(5..20).collect::<Vec<_>>()].concat(), "the pinned one does not count");
        let size = Retention { max_bytes: 200_000, ..Retention::default() };
        enforce_at(&history, data.path(), &size, TODAY_MS + HOUR_MS).expect("enforced");
        let stats = history.store.stats().expect("stats");
        assert!(stats.stored_bytes <= 200_000 && stats.stored_bytes > 120_000, "{stats:?}");
        assert_eq!(remaining(&history, &ids)[0], 0);
        enforce_at(&history, data.path(), &Retention { max_runs: 1, ..size }, TODAY_MS + HOUR_MS + 1).expect("enforced");
        assert_eq!(history.store.stats().expect("stats"), stats, "once an hour");
    }
}
