//! Many runs in one durable transaction. A commit costs about as much for a hundred short runs as for one.

use super::{Store, TransactionOutcome, runs, seal};
use crate::model::{Failure, Run, RunId};

/// A run that has ended, as it is moved into the store whole.
#[derive(Debug)]
pub(crate) struct EndedRun {
    /// The run in its final state.
    pub(crate) run: Run,
    /// blake3 of its `clientToken`.
    pub(crate) token: Option<[u8; 32]>,
    /// Its log, as far as that is not sealed yet.
    pub(crate) lines: Vec<u8>,
}

impl Store {
    /// Records, seals and finishes runs: all of them, or none if there is an error. `still_exists` is asked as for
    /// [`Store::put_run`]. Returns for each run whether its record holds it now.
    pub(crate) fn put_ended(&self, ended: &[EndedRun], still_exists: impl Fn(RunId) -> bool) -> Result<Vec<bool>, Failure> {
        self.write(|transaction| {
            let (mut is_changed, mut known) = (false, Vec::new());
            for EndedRun { run, token, lines } in ended {
                let is_known = runs::put_record(transaction, run, *token, || still_exists(run.id))?.note(&mut is_changed);
                if is_known {
                    seal::seal_lines(transaction, run.id, lines)?.note(&mut is_changed);
                    runs::finish_record(transaction, run)?.note(&mut is_changed);
                }
                known.push(is_known);
            }
            Ok(if is_changed { TransactionOutcome::Commit(known) } else { TransactionOutcome::Unchanged(known) })
        })
    }

    /// [`Store::put_run`] for many runs.
    pub(crate) fn put_runs(&self, records: &[(Run, Option<[u8; 32]>)], still_exists: impl Fn(RunId) -> bool) -> Result<(), Failure> {
        self.write(|transaction| {
            let mut is_changed = false;
            for (run, token) in records {
                runs::put_record(transaction, run, *token, || still_exists(run.id))?.note(&mut is_changed);
            }
            Ok(if is_changed { TransactionOutcome::Commit(()) } else { TransactionOutcome::Unchanged(()) })
        })
    }
}
