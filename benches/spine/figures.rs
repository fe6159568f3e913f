//! The metrics, their goals, and the figures of several servers side by side.

use serde_json::{Value, json};

use crate::options::Server;

/// A quantity that is measured, with its goals for loomd.
pub(crate) struct Metric {
    pub name: &'static str,
    pub unit: &'static str,
    pub goals: &'static [Goal],
}

pub(crate) enum Goal {
    /// At least this many times the other server's figure.
    AtLeast(f64, Server),
    /// At most this many times the other server's figure.
    AtMost(f64, Server),
    /// At most this, whatever the other servers reach.
    Below(f64),
}

pub(crate) const THROUGHPUT: Metric =
    Metric { name: "throughput", unit: "MB/s", goals: &[Goal::AtLeast(1.05, Server::Relay), Goal::AtLeast(8.0, Server::Node)] };
pub(crate) const CPU: Metric = Metric { name: "processor time until quiet", unit: "s", goals: &[Goal::AtMost(2.0, Server::Relay)] };
pub(crate) const QUIET: Metric = Metric { name: "from the last state to quiet", unit: "s", goals: &[] };
pub(crate) const SERVER_MEMORY: Metric = Metric { name: "server, resident at the end", unit: "MB", goals: &[Goal::Below(20.0)] };
pub(crate) const SERVER_PEAK: Metric = Metric { name: "server, resident at most", unit: "MB", goals: &[Goal::Below(20.0)] };
pub(crate) const SUPERVISOR_PEAK: Metric = Metric { name: "supervisor, resident at most", unit: "MB", goals: &[Goal::Below(5.0)] };
pub(crate) const WRITER_TIME: Metric = Metric { name: "the program's own time", unit: "s", goals: &[] };
pub(crate) const MEDIAN_LATENCY: Metric = Metric { name: "latency, median", unit: "ms", goals: &[Goal::AtMost(1.6, Server::Relay)] };
pub(crate) const P99_LATENCY: Metric = Metric { name: "latency, p99", unit: "ms", goals: &[Goal::AtMost(2.5, Server::Relay)] };
pub(crate) const MAX_LATENCY: Metric = Metric { name: "latency, worst", unit: "ms", goals: &[] };
pub(crate) const INITIALIZE: Metric = Metric { name: "spawn to initialize's answer", unit: "ms", goals: &[Goal::Below(4.0)] };
pub(crate) const FIRST_OUTPUT: Metric = Metric { name: "run/start to first output", unit: "ms", goals: &[Goal::Below(8.0)] };
pub(crate) const PROCESS_WRITES: Metric = Metric { name: "write_bytes per byte of output", unit: "", goals: &[] };
pub(crate) const DISK_WRITES: Metric = Metric { name: "bytes to the disk per byte of output", unit: "", goals: &[Goal::Below(8.0)] };

/// One metric under one load, with each server's values in the order of the rounds.
pub(crate) struct Row {
    pub load: String,
    pub metric: &'static Metric,
    values: Vec<(Server, Vec<f64>)>,
}

#[derive(Default)]
pub(crate) struct Figures {
    pub rows: Vec<Row>,
}

impl Figures {
    pub(crate) fn record(&mut self, load: &str, metric: &'static Metric, server: Server, value: f64) {
        let at = self.rows.iter().position(|row| row.load == load && row.metric.name == metric.name).unwrap_or_else(|| {
            self.rows.push(Row { load: load.to_owned(), metric, values: Vec::new() });
            self.rows.len() - 1
        });
        let values = &mut self.rows[at].values;
        match values.iter_mut().find(|(of, _)| *of == server) {
            Some((_, values)) => values.push(value),
            None => values.push((server, vec![value])),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Spread { min: *sorted.first()?, median: percentile(&sorted, 0.5), max: *sorted.last()? })
    }
}

/// A percentile of values in ascending order, of which there must be at least one. `fraction` is 0 to 1.
pub(crate) fn percentile(sorted: &[f64], fraction: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * fraction).round() as usize]
}

impl Row {
    pub(crate) fn values(&self, server: Server) -> Option<&[f64]> {
        self.values.iter().find(|(of, _)| *of == server).map(|(_, values)| values.as_slice())
    }

    pub(crate) fn spread(&self, server: Server) -> Option<Spread> {
        Spread::of(self.values(server)?)
    }

    /// loomd's figure divided by the other server's, round by round.
    pub(crate) fn ratio(&self, other: Server) -> Option<Spread> {
        let pairs = self.values(Server::Loomd)?.iter().zip(self.values(other)?);
        Spread::of(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>())
    }

    /// The text of each goal, and whether the median reaches it; `None` if a server was not measured.
    pub(crate) fn goals(&self) -> Vec<(String, Option<bool>)> {
        let evaluate = |goal: &Goal| match *goal {
            Goal::AtLeast(times, of) => (format!("≥ {times} × {}", of.name()), self.ratio(of).map(|ratio| ratio.median >= times)),
            Goal::AtMost(times, of) => (format!("≤ {times} × {}", of.name()), self.ratio(of).map(|ratio| ratio.median <= times)),
            Goal::Below(bound) => (
                format!("≤ {bound} {}", self.metric.unit).trim_end().to_owned(),
                self.spread(Server::Loomd).map(|ours| ours.median <= bound),
            ),
        };
        self.metric.goals.iter().map(evaluate).collect()
    }

    pub(crate) fn to_json(&self) -> Value {
        let servers: serde_json::Map<String, Value> = self
            .values
            .iter()
            .filter_map(|(server, values)| {
                let Spread { min, median, max } = Spread::of(values)?;
                Some((server.name().to_owned(), json!({"min": min, "median": median, "max": max, "values": values})))
            })
            .collect();
        let goals: Vec<Value> = self.goals().into_iter().map(|(goal, reached)| json!({"goal": goal, "reached": reached})).collect();
        json!({"load": self.load, "metric": self.metric.name, "unit": self.metric.unit, "servers": servers, "goals": goals})
    }
}
