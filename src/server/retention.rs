//! What is removed without being asked for: runs that are old, and those that the bounds on size and number leave no room for.
//!
//! Whichever server has the time does it, once an hour for all of them. A clock can be wrong: one that has jumped must be
//! steady for a day before it counts, and by age no more than a tenth of the runs goes in a day.

use std::path::Path;

use super::{
    changes::{self, Change},
    prune::{self, Bounds},
};
use crate::{
    history::History,
    model::{Failure, UnixMs, calls::Retention},
    process::lock::Lock,
    store::RetentionMarks,
    supervisor,
};

const HOUR: UnixMs = 3_600_000;
const DAY: UnixMs = 24 * HOUR;
/// Two looks that are further apart by the clock are taken for a jump; nobody tells a jump from a holiday.
const JUMP: UnixMs = 7 * DAY;
/// Of the runs, what may go by age in a day.
const SHARE: u64 = 10;

/// Looks after the bounds, unless it was done within the hour or somebody is at it.
pub fn keep(history: &History, data_dir: &Path, retention: &Retention) {
    let unbounded = Retention { max_age_days: 0, max_bytes: 0, max_runs: 0 };
    if *retention == unbounded {
        return;
    }
    match Lock::try_take_or_create(&data_dir.join(".retention")) {
        Ok(Some(_lock)) => {
            if let Err(failure) = keep_at(history, data_dir, retention, supervisor::now()) {
                tracing::warn!(%failure, "retention is tried again later");
            }
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "retention is tried again later"),
    }
}

fn keep_at(history: &History, data_dir: &Path, retention: &Retention, now: UnixMs) -> Result<(), Failure> {
    let stats = history.store.stats()?;
    if stats.runs == 0 {
        return Ok(());
    }
    let mut by_age = None;
    history.store.mark_retention(|marks| by_age = turn(marks, now, stats.runs))?;
    let Some(by_age) = by_age else { return Ok(()) };
    let bound = |bound: u64| (bound > 0).then_some(bound);
    let ended_before = bound(retention.max_age_days).map(|days| now.saturating_sub(days.saturating_mul(DAY)));
    // What goes by age is counted, so it goes by itself.
    let old = prune::prune(history, data_dir, Bounds { ended_before, most_by_age: Some(by_age), ..Bounds::default() })?;
    history.store.mark_retention(|marks| marks.deleted += old.runs.len() as u64)?;
    let bounds = Bounds { keep_runs: bound(retention.max_runs), max_bytes: bound(retention.max_bytes), ..Bounds::default() };
    let mut gone = old.runs;
    gone.extend(prune::prune(history, data_dir, bounds)?.runs);
    if gone.is_empty() {
        return Ok(());
    }
    tracing::info!(runs = gone.len(), "removed by retention");
    if let Err(error) = changes::tell(&history.runs, &Change::Deleted(gone)) {
        tracing::warn!(%error, "other servers do not hear of the deletion at once");
    }
    if let (false, Some(reason)) = prune::give_back(history) {
        tracing::info!(reason, "the store's file stays as long as it is");
    }
    Ok(())
}

/// Takes the turn if it is due: how many runs may go by age. `None`: it was done within the hour.
fn turn(marks: &mut RetentionMarks, now: UnixMs, runs: u64) -> Option<u64> {
    let since = now.checked_sub(marks.at);
    if since.is_some_and(|since| since < HOUR) {
        return None;
    }
    if since.is_none_or(|since| since > JUMP) {
        marks.steady_since = now;
    }
    marks.at = now;
    if marks.day != now / DAY {
        (marks.day, marks.deleted) = (now / DAY, 0);
    }
    let is_steady = now.saturating_sub(marks.steady_since) >= DAY;
    Some(if is_steady { (runs / SHARE).max(1).saturating_sub(marks.deleted) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Run, RunId, RunState, Stream, line},
        store::Store,
    };

    /// A day long after the beginning of time.
    const TODAY: UnixMs = 20_000 * DAY;

    /// Runs that ended so many days before today.
    fn data(days: impl IntoIterator<Item = u64>) -> (tempfile::TempDir, History, Vec<RunId>) {
        let data = tempfile::tempdir().expect("a directory");
        let history = History { runs: data.path().join("runs"), store: Store::at(data.path()) };
        std::fs::create_dir(&history.runs).expect("made");
        let ids = days.into_iter().enumerate().map(|(number, days)| {
            let id = RunId::from_bytes([[0, 0, 0, 1 + number as u8].as_slice(), &[7; 12]].concat().try_into().expect("sixteen"));
            let mut run = Run { ended_at: Some(TODAY - days * DAY), ..crate::store::test_run(id) };
            history.store.put_run(&run, None, || true).expect("told");
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

    fn left(history: &History, ids: &[RunId]) -> Vec<usize> {
        (0..ids.len()).filter(|at| history.store.run(ids[*at]).expect("readable").is_some()).collect()
    }

    /// Looks after the bounds each hour of some days.
    fn keep_for(days: u64, from: UnixMs, data: &Path, history: &History, retention: &Retention) {
        for hour in 0..=days * 24 {
            keep_at(history, data, retention, from + hour * HOUR).expect("kept");
        }
    }

    #[test]
    fn old_runs_go_a_tenth_a_day_and_pinned_ones_stay() {
        let (data, history, ids) = data((0..30).map(|number| 200 - number));
        history.store.edit(ids[1], |run| run.pinned = true).expect("pinned");
        let retention = Retention { max_age_days: 180, ..Retention::default() };
        keep_at(&history, data.path(), &retention, TODAY).expect("kept");
        assert_eq!(left(&history, &ids).len(), 30, "the clock has not been seen for a day");
        keep_for(1, TODAY, data.path(), &history, &retention);
        assert_eq!(left(&history, &ids)[..3], [1, 4, 5], "a tenth, the oldest, and not the pinned one");
        keep_for(1, TODAY + DAY, data.path(), &history, &retention);
        assert_eq!(left(&history, &ids)[..3], [1, 6, 7]);
        keep_for(30, TODAY + 2 * DAY, data.path(), &history, &retention);
        assert_eq!(left(&history, &ids), [1], "all are old by now");
    }

    #[test]
    fn a_clock_that_jumps_deletes_nothing() {
        let (data, history, ids) = data(0..20);
        let retention = Retention::default();
        keep_for(3, TODAY, data.path(), &history, &retention);
        for jumped in [TODAY + 4000 * DAY, TODAY + 3 * DAY, TODAY + 9000 * DAY, TODAY - 100 * DAY, TODAY + 5 * DAY, TODAY + 100 * DAY] {
            keep_at(&history, data.path(), &retention, jumped).expect("kept");
            keep_at(&history, data.path(), &retention, jumped + 2 * HOUR).expect("kept");
        }
        assert_eq!(left(&history, &ids).len(), 20);
    }

    #[test]
    fn number_and_size_are_bounded_at_once() {
        let (data, history, ids) = data([0; 20]);
        history.store.edit(ids[0], |run| run.pinned = true).expect("pinned");
        let number = Retention { max_runs: 15, ..Retention::default() };
        keep_at(&history, data.path(), &number, TODAY).expect("kept");
        assert_eq!(left(&history, &ids), [&[0][..], &(5..20).collect::<Vec<_>>()].concat(), "the pinned one does not count");
        let size = Retention { max_bytes: 200_000, ..Retention::default() };
        keep_at(&history, data.path(), &size, TODAY + HOUR).expect("kept");
        let stats = history.store.stats().expect("stats");
        assert!(stats.stored_bytes <= 200_000 && stats.stored_bytes > 120_000, "{stats:?}");
        assert_eq!(left(&history, &ids)[0], 0);
        keep_at(&history, data.path(), &Retention { max_runs: 1, ..size }, TODAY + HOUR + 1).expect("kept");
        assert_eq!(history.store.stats().expect("stats"), stats, "once an hour");
    }
}
